"""A share group on real processes of the fake engine: one table of faults, and what is guaranteed in spite of each."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.supervisor.sleep_conformance import CHECKS, Check
from tests.supervisor.sleep_rig import FileMemory, Rig, Setup, no_memory, share_rig

from tritonfleet.engines import Runtime
from tritonfleet.errors import EngineFailed, UsageError
from tritonfleet.planner.result import SleepLevel
from tritonfleet.spec.models import Lifecycle, ModelSpec
from tritonfleet.spec.sharing import ShareSpec
from tritonfleet.supervisor.engine import Engine
from tritonfleet.supervisor.seats import Phase

pytestmark = pytest.mark.e2e

QUICK = Lifecycle(start_seconds=20, stop_seconds=1, backoff_seconds=0.05, backoff_max_seconds=0.1, probe_seconds=0.1)
SHARING = ShareSpec(min_residency_seconds=0.01, residency_per_switch=0, idle_seconds=0.01, switch_seconds=20)
PACE: dict[str, Any] = {"ttft_ms": 5, "tpot_ms": 5, "answer_tokens": 2000, "crash_on_busy_sleep": True}


@asynccontextmanager
async def fakes(
    *, level: SleepLevel = 1, sharing: ShareSpec = SHARING, memory: bool = False, **of_a: Any
) -> AsyncIterator[Rig]:
    """Start a group of two fake engines, a and b; *of_a* are further options of a. Both have started, a is awake."""
    with tempfile.TemporaryDirectory(prefix="tf-") as folder:
        options = {"a": {**PACE, **of_a}, "b": PACE}
        if memory:
            for name, own in options.items():
                options[name] = {**own, "memory_file": f"{folder}/{name}.memory", "memory_bytes": 80}
        setup = Setup(
            Path(folder),
            tuple(
                ModelSpec(name=name, source="demo://llama2", engine="fake", share="g", engine_args=own)
                for name, own in options.items()
            ),
            dict.fromkeys(options, Path("m")),
            Runtime("fake", "0", Path(sys.executable), "found"),
            QUICK,
            sharing,
            level=level,
            gpus=(0,) if memory else (),
            need_bytes=80 if memory else 1,
        )
        memory_of: Callable[[Mapping[str, Engine]], Any] = (
            partial(FileMemory, folder=Path(folder)) if memory else no_memory
        )
        async with share_rig(setup, memory_of) as rig:
            await rig.start()
            yield rig


#: All checks where engines sleep as they should; where they sleep otherwise those that this could make a difference to.
BY_LEVEL: Mapping[SleepLevel, tuple[Check, ...]] = {1: CHECKS, 2: CHECKS[:4], "stop": CHECKS[:3]}


@pytest.mark.parametrize("level", BY_LEVEL)
async def test_what_must_hold_of_every_engine(level: SleepLevel) -> None:
    async with fakes(level=level) as rig:
        for check in BY_LEVEL[level]:
            await check(rig)


async def test_engines_start_one_after_the_other_and_the_first_stays() -> None:
    async with fakes() as rig:
        assert rig.phases() == {"a": "awake", "b": "asleep"}
        assert rig.group.status().switches == 0


Broken = Callable[[], AbstractAsyncContextManager[Rig]]
HASTY = SHARING.model_copy(update={"switch_seconds": 1.0})

#: Fault, how it is made, and what the waiting client reads.
FAULTS: Mapping[str, tuple[Broken, str]] = {
    "a wake that is refused": (partial(fakes, fail_wake=1), "/wake_up was answered with 500"),
    "a wake that never ends": (partial(fakes, hang_wake=1, sharing=HASTY), "/wake_up did not answer within 1 s"),
    "a wake that is too slow": (partial(fakes, wake_ms=5000, sharing=HASTY), "/wake_up did not answer within 1 s"),
    "a wake after which no token comes": (
        partial(fakes, hang_after_wake=1, sharing=HASTY),
        "/v1/completions did not answer within 1 s",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_wake_that_fails_fails_only_its_own_requests(fault: str) -> None:
    """The engine is killed and starts again, and the device goes on to whoever waits."""
    make, words = FAULTS[fault]
    async with make() as rig:
        assert await rig.ask("b")  # a sleeps now
        failed, held = await asyncio.gather(rig.ask("a"), _after_wake_began(rig), return_exceptions=True)
        assert isinstance(failed, EngineFailed)
        assert words in str(failed)
        assert "is being started again" in str(failed)
        assert isinstance(held, str)
        await rig.until(lambda: rig.engines["a"].restarts == 1 and rig.group.serves("a"))
        assert rig.engines["b"].restarts == 0


async def _after_wake_began(rig: Rig) -> str:
    await rig.until(lambda: rig.group.phase("a") is Phase.WAKING)
    return await rig.ask("b")


async def test_an_engine_that_does_not_fall_asleep_is_killed_for_the_others() -> None:
    async with fakes(fail_sleep=1) as rig:
        assert await rig.ask("b")
        await rig.until(lambda: rig.engines["a"].restarts == 1 and rig.group.serves("a"))
        assert await rig.ask("a")


async def test_memory_that_is_not_given_back_costs_the_engine_its_life() -> None:
    """The next one would not have found the memory that it needs to wake."""
    async with fakes(memory=True, leak_bytes=60) as rig:
        assert await rig.ask("b")
        await rig.until(lambda: rig.engines["a"].restarts == 1 and rig.group.serves("a"))


async def test_memory_that_is_given_back_is_seen() -> None:
    async with fakes(memory=True, leak_bytes=5) as rig:
        for name in "baba":
            assert await rig.ask(name)
        assert rig.engines["a"].restarts == 0
        assert rig.group.status().switches == 4


async def test_a_request_that_runs_on_is_ended_for_the_others() -> None:
    sharing = SHARING.model_copy(update={"drain_seconds": 0.3})
    async with fakes(sharing=sharing) as rig, rig.lease("a") as endless:
        held = asyncio.create_task(rig.ask("b"))
        assert "another model needs the device" in await endless.ended
        assert not held.done()
        rig.group.give_back("r0")
        assert await held


async def test_a_held_request_is_refused_at_its_own_deadline() -> None:
    async with fakes() as rig, rig.lease("a"):
        with pytest.raises(EngineFailed, match=r"b did not get the device within 0\.3 s"):
            await rig.ask("b", seconds=0.3)
        member = rig.group.status().members[1]
        assert (member.asked, member.held, member.refused, member.waiting) == (1, 1, 1, 0)


async def test_sleep_and_wake_by_hand() -> None:
    """For whoever wants the memory, or wants to be first."""
    async with fakes() as rig:
        await rig.group.sleep("a")
        assert rig.phases() == {"a": "asleep", "b": "asleep"}
        await rig.group.sleep("a")
        await rig.group.wake("b")
        assert rig.phases() == {"a": "asleep", "b": "awake"}
        assert await rig.ask("a")


async def test_an_unloaded_model_gives_no_leases_and_starts_again_when_it_is_loaded() -> None:
    async with fakes(level="stop") as rig:
        assert await rig.ask("b")
        await rig.engines["a"].stop()
        rig.group.retire("a")
        with pytest.raises(EngineFailed, match="a is being started again"):
            await rig.ask("a")
        await rig.engines["a"].ensure_ready()
        assert await rig.ask("a")


async def test_who_never_sleeps_cannot_be_sent_to_sleep() -> None:
    async with fakes() as rig:
        rig.group._sleepers.clear()
        with pytest.raises(UsageError, match="kept warm"):
            await rig.group.sleep("a")
