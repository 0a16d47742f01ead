"""The engine state machine against the shipped fake engine: real processes, scripted failures."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tritonfleet.engines import Launch, Runtime, adapter
from tritonfleet.engines.base import Command
from tritonfleet.errors import EngineFailed
from tritonfleet.spec.models import Lifecycle, ModelSpec
from tritonfleet.supervisor.engine import Engine
from tritonfleet.supervisor.process import Spawner
from tritonfleet.wire import Endpoint, ModelState

QUICK = Lifecycle(
    start_seconds=20,
    stop_seconds=0.5,
    max_restarts=2,
    backoff_seconds=0.05,
    backoff_max_seconds=0.1,
    probe_seconds=0.1,
    probe_failures=3,
)

EngineMaker = Callable[..., Engine]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look more often whether an engine is up, and wait less for an answer that does not come."""
    monkeypatch.setattr("tritonfleet.supervisor.engine.START_PROBE_SECONDS", 0.05)
    monkeypatch.setattr("tritonfleet.supervisor.engine.PROBE_TIMEOUT_SECONDS", 0.4)


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[EngineMaker]:
    """Make engines in a folder of their own; all are closed at the end."""
    spawner = Spawner(f"mark-{tmp_path.name}", dict(os.environ))
    engines: list[Engine] = []
    runtime = Runtime("fake", "0", Path(sys.executable), "found")

    def engine(lifecycle: Lifecycle = QUICK, **options: object) -> Engine:
        spec = ModelSpec(name="m", source="demo://llama2", engine="fake", engine_args=dict(options))
        fake = adapter("fake")
        endpoint = Endpoint(uds=str(tmp_path / "e.sock"))

        async def command() -> Command:
            return fake.command(Launch(spec, "m", {}, endpoint, runtime, ()))

        made = Engine(
            "m",
            health=fake.health,
            endpoint=endpoint,
            command=command,
            log_path=tmp_path / "m.log",
            lifecycle=lifecycle,
            spawner=spawner,
            changed=lambda: None,
        )
        engines.append(made)
        return made

    yield engine
    for made in engines:
        await made.close()
    spawner.close()
    assert not (tmp_path / "e.sock").exists()


async def state(engine: Engine, wanted: ModelState, *, restarts: int = 0) -> None:
    """Wait until *engine* is in the state *wanted* after at least *restarts* restarts."""
    async with asyncio.timeout(20):
        while engine.state != wanted or engine.restarts < restarts:  # noqa: ASYNC110 - only the state is of interest
            await asyncio.sleep(0.01)


async def test_it_is_ready_after_its_start(make: EngineMaker) -> None:
    engine = make(start_seconds=0.3)
    await engine.ensure_ready()
    assert engine.state == "ready"
    assert engine.ready_seconds is not None
    assert engine.ready_seconds >= 0.3


async def test_many_callers_share_one_start(make: EngineMaker) -> None:
    engine = make(start_seconds=0.2)
    await asyncio.gather(*(engine.ensure_ready() for _ in range(20)))
    assert engine.restarts == 0


async def test_a_killed_engine_comes_back(make: EngineMaker) -> None:
    engine = make(spawn_child=True)
    await engine.ensure_ready()
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGKILL)
    await state(engine, "ready", restarts=1)


async def test_a_start_that_fails_is_given_up_with_the_reason(make: EngineMaker) -> None:
    engine = make(fail_start=3, fail_start_message="no such weights")
    with pytest.raises(EngineFailed) as raised:
        await engine.ensure_ready()
    text = str(raised.value)
    assert "given up after 3 failures" in text
    assert "ended with exit status 3 before it was ready" in text
    assert "no such weights" in text


async def test_a_given_up_engine_gets_fresh_tries_when_it_is_asked_for_again(make: EngineMaker) -> None:
    engine = make(fail_start=3)
    with pytest.raises(EngineFailed):
        await engine.ensure_ready()
    tries = engine.restarts
    with pytest.raises(EngineFailed):
        await engine.ensure_ready()
    assert engine.restarts == 2 * tries


async def test_one_that_never_gets_ready_is_ended_at_the_deadline(make: EngineMaker) -> None:
    lifecycle = QUICK.model_copy(update={"start_seconds": 0.5, "max_restarts": 0})
    engine = make(lifecycle, start_seconds=60)
    with pytest.raises(EngineFailed, match=r"not ready after 0.5 s \(lifecycle.start_seconds\)"):
        await engine.ensure_ready()


async def test_a_hanging_engine_is_restarted(make: EngineMaker) -> None:
    engine = make(hang_health_after=0.5)
    await engine.ensure_ready()
    await state(engine, "restarting")
    assert "no answer to 3 health checks in a row" in engine.reason


async def test_a_sick_engine_is_restarted(make: EngineMaker) -> None:
    engine = make(sick_health_after=0.5)
    await engine.ensure_ready()
    await state(engine, "restarting")
    assert "its health check fails" in engine.reason


async def test_stop_while_it_starts_tells_who_waits(make: EngineMaker) -> None:
    engine = make(start_seconds=60)
    waiting = asyncio.create_task(engine.ensure_ready())
    await state(engine, "starting")
    await engine.stop()
    with pytest.raises(EngineFailed, match="stopped while it started"):
        await waiting
    assert engine.state == "stopped"
    assert engine.pid is None


async def test_stop_ends_a_stubborn_engine(make: EngineMaker) -> None:
    engine = make(ignore_sigterm=True)
    await engine.ensure_ready()
    await engine.stop()
    assert engine.state == "stopped"


async def test_asked_for_while_it_stops_it_starts_again(make: EngineMaker) -> None:
    engine = make(ignore_sigterm=True)
    await engine.ensure_ready()
    stopping = asyncio.create_task(engine.stop())
    await state(engine, "stopping")
    await engine.ensure_ready()
    assert engine.state == "ready"
    stopping.cancel()
