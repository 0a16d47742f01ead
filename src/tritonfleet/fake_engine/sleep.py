"""The fake engine's sleep mode: vLLM's calls, and the troubles that real engines have had with them."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from tritonfleet.fake_engine.options import Options
from tritonfleet.fake_engine.scheduler import Scheduler

#: Exit status of a process that died in native code.
CRASH_STATUS = 134

_TAGS = frozenset({"weights", "kv_cache"})


class SleepFailed(Exception):
    """A sleep or wake fails because the options say so."""


class SleepMode:
    """Whether the engine is awake, what it holds, and what goes wrong on the way."""

    def __init__(self, options: Options, scheduler: Scheduler) -> None:
        self._options = options
        self._scheduler = scheduler
        self._sleeps = 0
        self._wakes = 0
        self._gone: set[str] = set()
        """What was given back: weights, kv_cache."""
        self.noise = False
        """Whether the weights are what happened to be in memory: they were dropped, and not read again."""
        self._hold(options.memory_bytes)

    async def sleep(self, level: int) -> None:
        """Fall asleep; running requests are aborted, or kill the engine where it was told so."""
        self._sleeps += 1
        options = self._options
        if options.crash_on_busy_sleep and self._scheduler.running:
            _die("put to sleep with requests in flight: CUDA error: an illegal memory access was encountered")
        if self._sleeps == options.fail_sleep:
            raise SleepFailed(f"sleep {self._sleeps} fails, as --fail-sleep says")
        self._scheduler.sleep()
        await asyncio.sleep(options.sleep_ms / 1000)
        if level >= 1:
            self._gone = set(_TAGS)
            self._hold(options.leak_bytes)
        self.noise = self.noise or level == 2

    async def wake(self, tags: list[str]) -> bool:
        """Take back what *tags* name, everything without any; return whether the engine is awake then."""
        if not tags or "weights" in tags:
            self._wakes += 1
        await self._trouble()
        await asyncio.sleep(self._options.wake_ms / 1000)
        self._gone -= set(tags) or _TAGS
        if self._gone:
            return False
        self._hold(self._options.memory_bytes)
        if self._wakes != self._options.hang_after_wake:
            self._scheduler.wake()
        return True

    def reload_weights(self) -> None:
        """Read the weights again."""
        self.noise = False

    async def _trouble(self) -> None:
        options = self._options
        if self._wakes == options.fail_wake:
            raise SleepFailed(f"wake {self._wakes} fails, as --fail-wake says")
        if self._wakes == options.hang_wake:
            await asyncio.Event().wait()  # until the client goes away
        if self.noise and options.adapters:
            _die("woken from level 2 with LoRA: AttributeError")

    def _hold(self, amount: int) -> None:
        """Tell whoever reads the file how much of the device this engine holds."""
        if self._options.memory_file:
            path = Path(self._options.memory_file)
            fresh = path.with_name(f"{path.name}.{os.getpid()}")
            fresh.write_text(str(amount))
            fresh.replace(path)


def _die(why: str) -> None:
    print(f"fake engine: {why}", file=sys.stderr, flush=True)  # noqa: T201 - its log
    os._exit(CRASH_STATUS)
