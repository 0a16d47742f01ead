"""One model of the fleet: its engines, who holds it, and what the doors are told about it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from tritonfleet.engines.arguments import canonical, is_true
from tritonfleet.engines.base import EngineAdapter
from tritonfleet.errors import EngineFailed
from tritonfleet.spec.models import ModelSpec
from tritonfleet.supervisor.engine import Engine
from tritonfleet.supervisor.load import Load, LoadMeter
from tritonfleet.supervisor.seats import Phase
from tritonfleet.supervisor.share import ShareGroup
from tritonfleet.wire import LeaseNeed, ModelState, ModelStatus, ReplicaStatus, Route

#: A model is as well as its best replica: the first of these states that a replica has.
_BEST_FIRST: tuple[ModelState, ...] = ("ready", "starting", "restarting", "draining", "stopping", "failed", "stopped")
#: States of a model whose requests are answered, if only after a while.
SERVING: tuple[ModelState, ...] = ("ready", "asleep")

#: Engines are idle when they say so in this many looks in a row: a request may be on its way from a door.
IDLE_LOOKS = 2
IDLE_SECONDS = 0.2


class ModelUnit:
    """A model and its replicas."""

    def __init__(
        self,
        spec: ModelSpec,
        adapter: EngineAdapter,
        engines: Sequence[Engine],
        devices: Sequence[str],
        *,
        share: ShareGroup | None = None,
        engine_version: str = "",
        pool: str = "",
    ) -> None:
        self.spec = spec
        self._pool = pool
        self.share = share
        """The group whose models take turns on its device; None for a device of its own."""
        self._engine_version = engine_version
        self.adapter = adapter
        self.engines = tuple(engines)
        self.devices = tuple(devices)
        self._meters = [LoadMeter(engine, adapter) for engine in engines]
        self._loads = [Load() for _ in engines]
        self.wanted = False
        """Whether Triton should have it loaded."""
        self.holds = 0
        """Bridge instances that hold it; the engines stop with the last release."""
        self.loading = False
        """Whether Triton was asked to load it and has not answered."""
        self.load_error = ""
        """Why Triton did not load it."""
        self._retiring = False
        """Whether its engines stop once their requests have ended."""

    @property
    def name(self) -> str:
        """Name at the doors."""
        return self.spec.name

    @property
    def state(self) -> ModelState:
        """State of the best replica; failed also when only Triton failed to load it."""
        states = {engine.state for engine in self.engines}
        turn = self._turn_state
        best = turn if turn is not None else next(state for state in _BEST_FIRST if state in states)
        if best in SERVING and self._retiring:
            return "draining"
        return "failed" if best in SERVING and self.load_error else best

    @property
    def _turn_state(self) -> ModelState | None:
        """State of a model that has not its turn on a shared device, whatever its engine does."""
        if self._is_asleep:
            return "asleep"
        return "restarting" if self.share is not None and self.share.phase(self.name) is Phase.BROKEN else None

    @property
    def _is_asleep(self) -> bool:
        return self.share is not None and self.share.phase(self.name) in (Phase.ASLEEP, Phase.WAKING, Phase.SLEEPING)

    @property
    def reason(self) -> str:
        """What is wrong, in words."""
        return self.load_error or next((engine.reason for engine in self.engines if engine.reason), "")

    @property
    def in_triton(self) -> bool:
        """Whether Triton has it loaded."""
        return self.holds > 0 and not self.loading

    @property
    def settled(self) -> bool:
        """Whether nothing is under way: served by Triton, failed, or not wanted."""
        return not self.wanted or self.state == "failed" or (self.state in SERVING and self.in_triton)

    async def ensure_ready(self) -> None:
        """Start all replicas and return once one serves; raise EngineFailed with the reason if none does.

        A model of a share group serves also while it is asleep: its requests wake it.
        """
        if self._is_asleep:
            return
        starts = [asyncio.create_task(engine.ensure_ready()) for engine in self.engines]
        try:
            failure: EngineFailed | None = None
            for start in asyncio.as_completed(starts):
                try:
                    await start
                except EngineFailed as err:
                    failure = err
                else:
                    return
            if failure is not None and not self._is_asleep:  # it may have been sent to sleep at once
                raise failure
        finally:
            for task in starts:
                if not task.done():
                    task.cancel()
            await asyncio.gather(*starts, return_exceptions=True)

    async def read_load(self) -> None:
        """Read every engine's counts for the status."""
        self._loads = list(await asyncio.gather(*(meter.read() for meter in self._meters)))

    @property
    def loads(self) -> tuple[Load, ...]:
        """Every replica's counts as last read."""
        return tuple(self._loads)

    async def retire(self, drain_seconds: float, changed: Callable[[], None]) -> None:
        """Stop all replicas once their requests have ended, at the latest after *drain_seconds*.

        Meanwhile the OpenAI door sends no new ones; *changed* is called when that begins. A model that is wanted again
        stays.
        """
        self._retiring = True
        changed()
        try:
            await self._until_idle(time.monotonic() + drain_seconds)
        finally:
            self._retiring = False
        if not self.wanted:
            await self.stop()
        changed()

    async def _until_idle(self, deadline: float) -> None:
        idle = 0
        while idle < IDLE_LOOKS and time.monotonic() < deadline and not self.wanted:
            await self.read_load()
            # An engine that serves and does not tell its requests may have some.
            busy = any(
                load.running is None or load.running + (load.waiting or 0) > 0
                for engine, load in zip(self.engines, self._loads, strict=True)
                if engine.ready
            )
            idle = 0 if busy else idle + 1
            await asyncio.sleep(IDLE_SECONDS)

    async def stop(self) -> None:
        """Stop all replicas."""
        await asyncio.gather(*(engine.stop() for engine in self.engines))
        if self.share is not None:
            self.share.retire(self.name)

    async def close(self) -> None:
        """Stop all replicas for good."""
        await asyncio.gather(*(engine.close() for engine in self.engines))

    @property
    def _takes_loras(self) -> bool:
        return any(is_true(value) for name, value in self.spec.engine_args.items() if canonical(name) == "enable_lora")

    def route(self, *, ready_only: bool) -> Route:
        """Return what bridge (all replicas) or gateway (ready ones) need to reach the model."""
        return Route(
            model=self.name,
            engine=self.spec.engine,
            served_name=self.name,
            endpoints=tuple(engine.endpoint for engine in self.engines if self._serves(engine) or not ready_only),
            loras=tuple(self.spec.lora),
            lora_enabled=bool(self.spec.lora) or self._takes_loras,
            max_model_len=self.spec.max_model_len,
            state=self.state,
            reason=self.reason,
            lease=self._lease,
            hold_seconds=self.share.sharing.hold_seconds if self.share is not None else 0.0,
            engine_version=self._engine_version,
            in_triton=self.in_triton,
            pool=self._pool,
        )

    def _serves(self, engine: Engine) -> bool:
        if self._retiring:
            return False
        return self.share.serves(self.name) if self.share is not None else engine.ready

    @property
    def _lease(self) -> LeaseNeed:
        if self.share is None or not self.share.needs_lease(self.name):
            return "none"
        return "all" if self.share.sleeps_by_stopping(self.name) else "generate"

    def status(self) -> ModelStatus:
        """Return what `tritonfleet status` shows."""
        replicas = [
            ReplicaStatus(
                replica=number,
                state=self._turn_state or engine.state,
                device=device,
                endpoint=str(engine.endpoint),
                pid=engine.pid,
                restarts=engine.restarts,
                ready_seconds=engine.ready_seconds,
                running=load.running,
                waiting=load.waiting,
                tokens_per_second=load.tokens_per_second,
                reason=engine.reason,
            )
            for number, (engine, device, load) in enumerate(zip(self.engines, self.devices, self._loads, strict=True))
        ]
        return ModelStatus(
            model=self.name,
            engine=self.spec.engine,
            source=self.spec.source,
            state=self.state,
            in_triton=self.in_triton,
            replicas=tuple(replicas),
            reason=self.reason,
            share=self.spec.share or "",
        )
