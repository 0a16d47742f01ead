"""What must hold of any engine that takes turns: the same checks for the fake engine and for a real one on a GPU.

Each check has a fault that was seen in the field, and says what is guaranteed in spite of it.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable

from tests.supervisor.sleep_rig import Rig

from tritonfleet.errors import EngineFailed
from tritonfleet.supervisor.seats import Phase

Check = Callable[[Rig], Awaitable[None]]


async def a_request_for_a_sleeping_model_is_held_and_answered(rig: Rig) -> None:
    """Sent straight to a sleeping engine it would hang for ever, or crash it."""
    resident, other = _pair(rig)
    assert rig.phases()[other] == "asleep"
    assert await asyncio.wait_for(rig.ask(other), 120)
    assert rig.phases() == {other: "awake", resident: "asleep"}


async def a_running_request_ends_before_its_model_sleeps(rig: Rig) -> None:
    """A sleep with requests in flight has crashed engines, and cut answers."""
    resident, other = _pair(rig)
    async with rig.lease(resident):
        running = asyncio.create_task(rig.complete(resident, tokens=200))
        held = asyncio.create_task(rig.ask(other))
        await rig.until(lambda: rig.group.phase(resident) is Phase.DRAINING)
        text = await running
        assert len(text.split()) > 20 or len(text) > 100
        assert not held.done()
    assert await held


async def an_aborted_request_does_no_harm_to_the_sleep(rig: Rig) -> None:
    """A client that goes away gives its lease back while the engine still works on the request."""
    resident, other = _pair(rig)
    before = await rig.ask(resident)
    for _ in range(3):
        async with rig.lease(resident):
            running = asyncio.create_task(rig.complete(resident, tokens=200))
            await asyncio.sleep(0.1)  # some way into the answer
            running.cancel()
        assert await rig.ask(other)
        assert await rig.ask(resident) == before
    assert _restarts(rig) == 0


async def answers_are_the_same_after_many_switches(rig: Rig) -> None:
    """Weights that were lost or a cache that was not emptied would show as other words."""
    resident, other = _pair(rig)
    first = {name: await rig.ask(name, tokens=16) for name in (resident, other)}
    for _ in range(5):
        for name in (resident, other):
            assert await rig.ask(name, tokens=16) == first[name]
    assert _restarts(rig) == 0


async def an_engine_that_dies_asleep_comes_back(rig: Rig) -> None:
    """Its memory is free with the process; it starts again when the device can be had."""
    _, other = _pair(rig)
    await _kill(rig, other)
    assert await _ask_until_answered(rig, other)


async def an_engine_that_dies_awake_fails_only_its_own_requests(rig: Rig) -> None:
    """The other model is woken at once, and the dead one starts again."""
    resident, other = _pair(rig)
    async with rig.lease(resident):
        running = asyncio.create_task(rig.complete(resident, tokens=1000))
        await _kill(rig, resident)
        results = await asyncio.gather(running, rig.ask(other), return_exceptions=True)
    assert isinstance(results[0], OSError)
    assert isinstance(results[1], str)
    assert await _ask_until_answered(rig, resident)


CHECKS: tuple[Check, ...] = (
    a_request_for_a_sleeping_model_is_held_and_answered,
    a_running_request_ends_before_its_model_sleeps,
    an_aborted_request_does_no_harm_to_the_sleep,
    answers_are_the_same_after_many_switches,
    an_engine_that_dies_asleep_comes_back,
    an_engine_that_dies_awake_fails_only_its_own_requests,
)


def _pair(rig: Rig) -> tuple[str, str]:
    """Return the model that is awake, and another."""
    resident = next(name for name, phase in rig.phases().items() if phase == "awake")
    return resident, next(name for name in rig.engines if name != resident)


def _restarts(rig: Rig) -> int:
    return sum(engine.restarts for engine in rig.engines.values())


async def _kill(rig: Rig, model: str) -> None:
    pid = rig.engines[model].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await rig.until(lambda: rig.engines[model].pid != pid)


async def _ask_until_answered(rig: Rig, model: str) -> str:
    """Ask as a client does that tries again when it is told to."""
    async with asyncio.timeout(300):
        while True:
            try:
                return await rig.ask(model)
            except EngineFailed:
                await asyncio.sleep(0.05)
