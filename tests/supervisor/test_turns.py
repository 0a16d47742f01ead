"""Engines on the same GPU start one after the other, others side by side."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tritonfleet.engines.base import Call, Command
from tritonfleet.spec.models import Lifecycle
from tritonfleet.supervisor.engine import Engine
from tritonfleet.supervisor.process import Spawner
from tritonfleet.supervisor.turns import StartTurns
from tritonfleet.wire import Endpoint


async def test_one_at_a_time_on_a_gpu() -> None:
    """The second waits for the first, the third on another GPU does not."""
    turns = StartTurns()
    await turns.take("a", [0])
    second = asyncio.create_task(turns.take("b", [0, 1]))
    await turns.take("c", [2])
    await turns.take("cpu", [])
    assert not second.done()
    turns.give_back("c")
    await asyncio.sleep(0)
    assert not second.done()
    turns.give_back("a")
    await asyncio.wait_for(second, 5)


async def test_an_engine_that_gives_up_waiting_holds_nobody() -> None:
    """A cancelled wait leaves no trace, and giving back twice does no harm."""
    turns = StartTurns()
    await turns.take("a", [0])
    waiting = asyncio.create_task(turns.take("b", [0]))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    turns.give_back("b")
    turns.give_back("a")
    turns.give_back("a")
    await asyncio.wait_for(turns.take("c", [0]), 5)


async def test_a_restart_does_not_wait_for_itself() -> None:
    """An engine that starts again before its last turn was given back."""
    turns = StartTurns()
    await turns.take("a", [0])
    await asyncio.wait_for(turns.take("a", [0]), 5)


async def test_an_engine_that_waits_for_its_turn_can_be_stopped(tmp_path: Path) -> None:
    """At once, without having started anything."""
    turns = StartTurns()
    await turns.take("other", [0])

    async def command() -> Command:
        await turns.take("m", [0])
        raise AssertionError("it had its turn")

    spawner = Spawner(f"mark-{tmp_path.name}", {})
    engine = Engine(
        "m",
        health=Call("GET", "/health"),
        endpoint=Endpoint(uds=str(tmp_path / "m.sock")),
        command=command,
        log_path=tmp_path / "m.log",
        lifecycle=Lifecycle(),
        spawner=spawner,
        changed=lambda: None,
    )
    engine.want()
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await engine.stop()
    assert engine.state == "stopped"
    await engine.close()
    spawner.close()
