"""The supervisor's loop: one object owns Triton and every engine of a fleet, from the first start to the last stop."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

from tritonfleet.engines.base import Call, Command
from tritonfleet.errors import EngineFailed, FleetError, TritonFailed, UsageError
from tritonfleet.gateway.admin import write_token
from tritonfleet.gateway.command import command as gateway_command
from tritonfleet.gateway.command import options_of
from tritonfleet.metrics.gpu import GpuReader
from tritonfleet.supervisor.control import ControlServer
from tritonfleet.supervisor.engine import Engine
from tritonfleet.supervisor.factory import UnitFactory
from tritonfleet.supervisor.history import History
from tritonfleet.supervisor.load import LOAD_SECONDS
from tritonfleet.supervisor.memory_map import memory_map
from tritonfleet.supervisor.metrics import MetricsPage
from tritonfleet.supervisor.prepared import Prepared
from tritonfleet.supervisor.process import Spawner
from tritonfleet.supervisor.share import ShareGroup
from tritonfleet.supervisor.share_metrics import share_text
from tritonfleet.supervisor.triton import reachable
from tritonfleet.supervisor.triton_server import TritonServer
from tritonfleet.supervisor.unit import SERVING, ModelUnit
from tritonfleet.wire import Endpoint, FleetStatus, Route, ShareStatus

log = logging.getLogger(__name__)


class Fleet:
    """One running fleet."""

    def __init__(self, prepared: Prepared) -> None:
        self._prepared = prepared
        self._spec = prepared.spec
        self._layout = prepared.layout
        self._started = time.monotonic()
        self._units: dict[str, ModelUnit] = {}
        self._others: tuple[str, ...] = ()
        self._adopting = asyncio.Lock()
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._drain_seconds = self._spec.lifecycle.drain_seconds
        self._changed = asyncio.Condition()
        self._revision = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._wakers: set[asyncio.Future[None]] = set()
        mark = str(self._layout.sockets)
        self._shm_prefix = f"tf{self._layout.sockets.name[-12:]}_"
        self._spawner = Spawner(mark, prepared.environ)
        self._factory = UnitFactory(prepared, self._spawner, self._on_engine_changed)
        self.history = History()
        self.memory = memory_map(prepared.placement.plan)
        self.metrics = MetricsPage(
            self,
            self._spec.pool_of,
            gpus=GpuReader() if prepared.machine.gpus else None,
            share_text=lambda pools: share_text(self._spec.name, self.shares(), pools),
        )
        self._control = ControlServer(self, self._layout.control_socket)
        self._triton = TritonServer(
            prepared.triton,
            self._spec,
            prepared.repositories,
            self._layout,
            spawner=self._spawner,
            shm_prefix=self._shm_prefix,
            came_up=self._on_triton_up,
            went_down=self._on_triton_down,
            changed=self._notify,
        )
        self._was_up = False
        self._exit_reason: FleetError | None = None
        self._gateway = self._make_gateway()

    # --- what the control socket and the console ask ---------------------------------------------------------

    def unit(self, name: str) -> ModelUnit:
        """Return the model called *name*; raise UsageError listing the names if there is none."""
        try:
            return self._units[name]
        except KeyError:
            raise UsageError(f"no model is called {name!r}; the fleet has: {', '.join(sorted(self._units))}") from None

    async def acquire(self, model: str, version: str, model_dir: Path) -> Route:
        """Start *model*'s engines if need be, wait for the first to serve, and hold them for one bridge instance."""
        unit = await self._unit_for(model, version, model_dir)
        unit.wanted = True
        unit.load_error = ""
        ready = asyncio.create_task(unit.ensure_ready())
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({ready, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not ready.done():
                raise EngineFailed(f"{model}: the fleet is stopping")
            await ready
        finally:
            ready.cancel()
            stopping.cancel()
        unit.holds += 1
        self._notify()
        return unit.route(ready_only=False)

    def release(self, model: str) -> None:
        """Give one bridge instance's hold back; after the last one the engines finish their requests and stop."""
        unit = self.unit(model)
        unit.holds = max(0, unit.holds - 1)
        if unit.holds == 0 and not self._stopping.is_set() and self._triton.ready:
            unit.wanted = False
            self._run(self._retire(unit), f"stop {model}")
        self._notify()

    def load(self, model: str) -> None:
        """Start *model*'s engines and have Triton load it; returns at once, the status tells how it goes."""
        unit = self.unit(model)
        if self._stopping.is_set():
            raise EngineFailed(f"{model}: the fleet is stopping")
        if unit.wanted and unit.state in (*SERVING, "starting", "restarting"):
            return  # it is loaded, or on its way
        unit.wanted = True
        unit.load_error = ""
        for engine in unit.engines:
            engine.want()
        self._run(self._load(unit), f"load {model}")

    def unload(self, model: str) -> None:
        """Take *model* out of Triton, which stops its engines; returns at once, running requests finish first."""
        unit = self.unit(model)
        unit.wanted = False
        unit.load_error = ""
        # The bridge gives the engines back when Triton has unloaded the model; before that, nobody holds them.
        self._run(self._unload(unit) if unit.holds else self._retire(unit), f"unload {model}")

    def _retire(self, unit: ModelUnit) -> Coroutine[Any, Any, None]:
        return unit.retire(self._spec.lifecycle.drain_seconds, self._notify)

    async def sleep(self, model: str) -> None:
        """Put *model* of a share group to sleep once its requests have ended; its next request wakes it."""
        await self._shared(model).sleep(model)

    async def wake(self, model: str) -> None:
        """Bring *model* of a share group in, when its turn comes as for a request."""
        await self._shared(model).wake(model)

    def group_of(self, model: str) -> ShareGroup | None:
        """Return the share group of *model*; None for one that has none, or that does not exist."""
        unit = self._units.get(model)
        return unit.share if unit is not None else None

    def shares(self) -> tuple[ShareStatus, ...]:
        """Return the state of every share group."""
        return tuple(group.status() for group in self._factory.groups.values())

    def _shared(self, model: str) -> ShareGroup:
        group = self.unit(model).share
        if group is None:
            raise UsageError(
                f"{model} has its device for itself; only models with `share` in fleet.yaml sleep and wake"
            )
        return group

    async def routes_after(self, revision: int) -> tuple[int, tuple[Route, ...]]:
        """Wait until something is newer than *revision*; return the new revision and all routes."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._revision > revision or self._stopping.is_set())
        return self._revision, tuple(unit.route(ready_only=True) for unit in self._units.values())

    def status(self) -> FleetStatus:
        """Return the state of everything."""
        models = [unit.status() for unit in self._units.values()]
        doors = self._spec.doors
        return FleetStatus(
            fleet=self._spec.name,
            pid=os.getpid(),
            state=self._state(),
            uptime_seconds=time.monotonic() - self._started,
            doors={name: f"{door.host}:{door.port}" for name, door in doors},
            triton_pid=self._triton.pid,
            triton_state=self._triton.state,
            triton_restarts=self._triton.restarts,
            gateway_pid=self._gateway.pid,
            gateway_state=self._gateway.state,
            gateway_reason=self._gateway.reason,
            models=tuple(models),
            others=self._others,
            shares=self.shares(),
        )

    def log_paths(self, name: str) -> list[Path]:
        """Return the log files of a model, of ``triton`` or of the ``supervisor``."""
        if name in ("triton", "supervisor", "gateway"):
            return [self._layout.logs / f"{name}.log"]
        unit = self.unit(name)
        return [self._layout.engine_log(name, replica) for replica in range(len(unit.engines))]

    def request_stop(self, drain_seconds: float | None = None) -> None:
        """Drain and stop; asked a second time, stop without waiting for running requests."""
        if self._stopping.is_set():
            self._hurry.set()
        if drain_seconds is not None:
            self._drain_seconds = drain_seconds
        self._stopping.set()
        self._notify()

    @property
    def draining(self) -> bool:
        """Whether a stop was asked for."""
        return self._stopping.is_set()

    # --- life -------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Bring the fleet up, keep it up until a stop is asked for, and take it down.

        Raises TritonFailed when tritonserver was given up.
        """
        self._layout.sockets.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_token(self._layout.admin_token_file)
        await self._spawner.start_janitor(unlink=[self._layout.sockets], shm=[self._shm_prefix])
        try:
            await self._control.start()
            self._units = self._factory.all()
            for unit in self._units.values():
                if unit.spec.load:
                    unit.wanted = True
                    for engine in unit.engines:
                        engine.want()
            self._gateway.want()
            triton = asyncio.create_task(self._triton.run(), name="triton")
            watch = asyncio.create_task(self._watch_load(), name="load")
            stopping = asyncio.create_task(self._stopping.wait())
            await asyncio.wait({triton, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if triton.done() and not self._stopping.is_set():
                self._exit_reason = TritonFailed(self._triton.reason)
            self._stopping.set()
            watch.cancel()
            stopping.cancel()
            await self._take_down(triton)
        finally:
            await self.metrics.close()
            await self._control.close()
            self._spawner.close()
        if self._exit_reason is not None:
            raise self._exit_reason

    async def _take_down(self, triton: asyncio.Task[None]) -> None:
        for task in self._tasks:
            task.cancel()
        self._notify()
        log.info("draining: up to %g s for running requests", self._drain_seconds)
        gateway = asyncio.create_task(self._gateway.close(self._drain_seconds, self._hurry))
        await self._triton.stop(self._drain_seconds, self._hurry)
        await triton
        await gateway
        await asyncio.gather(*(group.close() for group in self._factory.groups.values()))
        await asyncio.gather(*(unit.close() for unit in self._units.values()))
        await self._triton.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _make_gateway(self) -> Engine:
        """The OpenAI door is watched like an engine: it has a process, a health page, and restarts with back-off."""
        door = self._spec.doors.openai
        options = options_of(
            self._spec.gateway,
            door,
            fleet=self._spec.name,
            control=str(self._layout.control_socket),
            keys=str(self._layout.keys_file),
            admin_token=str(self._layout.admin_token_file),
            drain_seconds=self._spec.lifecycle.drain_seconds,
            cores=len(self._prepared.cores),
            tracing=self._spec.tracing,
        )

        async def build() -> Command:
            return Command(gateway_command(options), {})

        return Engine(
            "gateway",
            health=Call("GET", "/health/live"),
            endpoint=Endpoint(host=reachable(door.host), port=door.port),
            command=build,
            log_path=self._layout.logs / "gateway.log",
            lifecycle=self._spec.lifecycle,
            spawner=self._spawner,
            changed=self._notify,
        )

    async def _unit_for(self, name: str, version: str, model_dir: Path) -> ModelUnit:
        """Return the unit called *name*; one that is new is a model of somebody's own repository."""
        async with self._adopting:
            if name not in self._units:
                self._units[name] = await self._factory.adopt(name, version, model_dir)
            return self._units[name]

    async def _watch_load(self) -> None:
        while True:
            for unit in list(self._units.values()):
                await unit.read_load()
            self.history.look(time.time(), {unit.name: unit.loads for unit in self._units.values()})
            if self._triton.ready and self._spec.repository.include:
                await self._refresh_others()
            await asyncio.sleep(LOAD_SECONDS)

    # --- Triton -----------------------------------------------------------------------------------------------

    def _on_triton_up(self) -> None:
        """Load into a fresh Triton everything that should be in it."""
        for unit in self._units.values():
            if unit.wanted:
                self._run(self._load(unit), f"load {unit.name}")
        self._run(self._load_others(), "load others")

    def _on_triton_down(self) -> None:
        for unit in self._units.values():
            unit.holds = 0

    async def _load(self, unit: ModelUnit) -> None:
        unit.loading = True
        try:
            await unit.ensure_ready()
            await self._triton.http.load(unit.name)
            unit.load_error = ""
        except EngineFailed:
            log.warning("%s: not loaded, its engine failed", unit.name)
        except TritonFailed as err:
            # Otherwise it was unloaded meanwhile, or Triton went down, and loads again when it is back.
            if self._triton.ready and unit.wanted:
                unit.load_error = str(err)
                log.warning("%s", err)
        finally:
            unit.loading = False
        self._notify()

    async def _load_others(self) -> None:
        """Load the models of the included repositories."""
        include = self._spec.repository
        if not include.include:
            return
        wanted: set[str] = set()
        with suppress(TritonFailed):  # it went down meanwhile, and loads again when it is back
            names = {entry.name for entry in await self._triton.http.index()} - set(self._units)
            wanted = names if include.load == "all" else set(include.load)
        await asyncio.gather(*(self._load_other(name) for name in sorted(wanted)))
        await self._refresh_others()

    async def _load_other(self, name: str) -> None:
        try:
            # Triton never answers the load of a Python model that has no model.py.
            await self._triton.http.load(name, self._spec.lifecycle.start_seconds)
        except TritonFailed as err:
            log.warning("%s", err)

    async def _refresh_others(self) -> None:
        with suppress(TritonFailed):
            ready = {entry.name for entry in await self._triton.http.index() if entry.state == "READY"}
            self._others = tuple(sorted(ready - set(self._units)))

    def _on_engine_changed(self) -> None:
        """Take models whose engines were all given up out of Triton, so that readiness tells the truth."""
        for unit in self._units.values():
            given_up = unit.holds > 0 and all(engine.state == "failed" for engine in unit.engines)
            if given_up and not self._stopping.is_set():
                unit.holds = 0
                self._run(self._unload(unit), f"unload {unit.name}")
        self._notify()

    async def _unload(self, unit: ModelUnit) -> None:
        try:
            await self._triton.http.unload(unit.name)
        except TritonFailed as err:
            log.warning("%s", err)

    # --- plumbing ---------------------------------------------------------------------------------------------

    def _state(self) -> Any:
        if self._stopping.is_set():
            return "draining" if self._triton.running else "stopping"
        settled = self._triton.ready and self._gateway.settled and all(unit.settled for unit in self._units.values())
        self._was_up = self._was_up or settled
        if not self._was_up:
            return "starting"
        well = (
            settled
            and self._gateway.ready
            and all(unit.state in SERVING for unit in self._units.values() if unit.wanted)
        )
        return "ready" if well else "degraded"

    def _run(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._on_task_done)

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (err := task.exception()) is not None:
            log.error("%s: %s", task.get_name(), err)
        self._notify()

    def _notify(self) -> None:
        self._revision += 1

        async def wake() -> None:
            async with self._changed:
                self._changed.notify_all()

        task = asyncio.ensure_future(wake())
        self._wakers.add(task)
        task.add_done_callback(self._wakers.discard)

    async def wait_change(self, seconds: float) -> None:
        """Return at the next change, or after *seconds*."""
        try:
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait()
        except TimeoutError:
            return
