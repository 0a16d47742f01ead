"""How one engine of a share group goes to sleep and wakes up, step by step, each with its check and its deadline."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from tritonfleet.engines.base import Call, EngineAdapter
from tritonfleet.errors import EngineFailed
from tritonfleet.planner.result import MemberPlan, SleepLevel
from tritonfleet.supervisor.device_memory import DeviceMemory
from tritonfleet.supervisor.engine import Engine

log = logging.getLogger(__name__)

#: Requests whose client went away may be counted by the engine a little longer; no lease is out any more.
QUIET_SECONDS = 2.0
QUIET_LOOK_SECONDS = 0.05
#: A driver shows freed memory a little later than the engine says so.
MEMORY_SECONDS = 5.0
MEMORY_LOOK_SECONDS = 0.1
#: The first sleep pins the host memory: it took 10 s on an H200 where later ones take 0.31 s.
FIRST_SLEEP = 35.0
#: A switch may take this many times as long as the plan predicts.
SLACK = 3.0
#: Part of the planned memory that must come back; the plan of small parts is an estimate.
MEMORY_PART = 0.8


class SwitchFailed(EngineFailed):
    """An engine did not fall asleep, or did not wake up, as it should; the message says at which step."""


@dataclass(frozen=True)
class Sleeping:
    """What is to be known of one member's sleep."""

    level: SleepLevel
    """1 keeps the weights in host memory, 2 reads them again, stop ends the process."""
    gpus: tuple[int, ...]
    """Empty for an engine on the CPU, whose memory is not checked."""
    need_bytes: int
    """What must come free on each GPU."""
    sleep_limit_seconds: float
    """Longest time for all steps of falling asleep."""
    wake_limit_seconds: float
    """The same for waking up; a stopped engine's start has the lifecycle's own."""


def sleeping_of(level: SleepLevel, gpus: tuple[int, ...], member: MemberPlan, switch_seconds: float) -> Sleeping:
    """Return how *member* sleeps; large models get more than *switch_seconds* where the plan says that they need it."""
    return Sleeping(
        level,
        gpus,
        member.need_bytes,
        max(switch_seconds, FIRST_SLEEP * SLACK * member.sleep_seconds),
        max(switch_seconds, SLACK * member.wake_seconds),
    )


class Sleeper:
    """Puts one engine to sleep and wakes it; the caller sees to it that no request is under way."""

    def __init__(self, engine: Engine, adapter: EngineAdapter, sleeping: Sleeping, memory: DeviceMemory) -> None:
        self.engine = engine
        self.level = sleeping.level
        self._adapter = adapter
        self._sleeping = sleeping
        self._memory = memory

    async def sleep(self) -> None:
        """Free the device; raise SwitchFailed."""
        before = await self._free()
        if self.level == "stop":
            await self.engine.stop()
            return
        call = self._adapter.sleep(self.level)
        assert call is not None, "the plan gives a level only to engines that have one"
        limit = self._sleeping.sleep_limit_seconds
        deadline = time.monotonic() + limit
        await self._quiet()
        await self._send(call, deadline, limit)
        await self._check_memory(before)

    async def wake(self) -> None:
        """Take the device and see that the engine answers; raise SwitchFailed."""
        if self.level == "stop":
            try:
                await self.engine.ensure_ready()
            except EngineFailed as err:
                raise SwitchFailed(str(err)) from err
        limit = self._sleeping.wake_limit_seconds
        deadline = time.monotonic() + limit
        if self.level != "stop":
            for call in self._adapter.wake(self.level):
                await self._send(call, deadline, limit)
        await self._probe(deadline, limit)

    async def _quiet(self) -> None:
        """Wait until the engine itself counts no request any more; what it still counts then, its sleep aborts."""
        names = [self._adapter.metric_names[meaning] for meaning in ("running", "waiting")]
        deadline = time.monotonic() + QUIET_SECONDS
        while time.monotonic() < deadline:
            counts = await self.engine.http.gauges(self._adapter.metrics, names, QUIET_SECONDS)
            if not any(counts.values()):
                return
            await asyncio.sleep(QUIET_LOOK_SECONDS)
        log.warning("%s: goes to sleep although it counts requests that nobody waits for", self.engine.name)

    async def _send(self, call: Call, deadline: float, limit: float) -> None:
        status, text = await self._ask(call, deadline, limit)
        if status != 200:
            raise SwitchFailed(f"{_path(call)} was answered with {status}: {text.strip()[:200]}")

    async def _ask(self, call: Call, deadline: float, limit: float) -> tuple[int, str]:
        try:
            return await self.engine.http.send(call, max(0.001, deadline - time.monotonic()))
        except TimeoutError:
            raise SwitchFailed(f"{_path(call)} did not answer within {limit:g} s (switch_seconds)") from None
        except OSError as err:
            raise SwitchFailed(f"{_path(call)} broke off ({err})") from err

    async def _probe(self, deadline: float, limit: float) -> None:
        """See that it is well, and that a token comes: a wake that went wrong can look well until then."""
        await self._send(self._adapter.health, deadline, limit)
        body = json.dumps({"model": self.engine.name, "prompt": "Hello", "max_tokens": 1})
        status, text = await self._ask(Call("POST", "/v1/completions", body), deadline, limit)
        # A model without completions (embeddings, ranking) says so with another status, and has answered.
        if status >= 500 and status != 501:
            raise SwitchFailed(f"the first token after the wake was answered with {status}: {text.strip()[:200]}")

    async def _free(self) -> tuple[int, ...] | None:
        gpus = self._sleeping.gpus
        return await self._memory.free_bytes(gpus) if gpus else None

    async def _check_memory(self, before: Sequence[int] | None) -> None:
        if before is None:
            return
        wanted = int(self._sleeping.need_bytes * MEMORY_PART)
        deadline = time.monotonic() + MEMORY_SECONDS
        while True:
            now = await self._free()
            if now is None:
                return
            freed = min(after - earlier for after, earlier in zip(now, before, strict=True))
            if freed >= wanted:
                return
            if time.monotonic() > deadline:
                raise SwitchFailed(
                    f"it gave back {freed / 2**30:.1f} of {self._sleeping.need_bytes / 2**30:.1f} GiB of the GPU"
                )
            await asyncio.sleep(MEMORY_LOOK_SECONDS)


def _path(call: Call) -> str:
    return call.path.partition("?")[0]
