"""One engine process as a state machine with one owner task: start, probe, restart, give up, stop.

Callers say what they want (``ensure_ready``, ``stop``); only the owner task starts and ends the process.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from tritonfleet.engines.base import Call, Command
from tritonfleet.errors import EngineFailed
from tritonfleet.spec.models import Lifecycle
from tritonfleet.supervisor.policy import GiveUp, after_failure
from tritonfleet.supervisor.probe import EngineHttp, Health
from tritonfleet.supervisor.process import Program, Spawner, describe_status
from tritonfleet.wire import LAST_WORDS, Endpoint, ModelState

log = logging.getLogger(__name__)

#: A starting engine is asked this often; quick enough not to be seen, slow enough not to disturb the start.
START_PROBE_SECONDS = 0.2
#: A probe waits this long for its answer at least: a busy machine is no reason to restart an engine.
PROBE_TIMEOUT_SECONDS = 1.0
#: An engine that answers with an error (its core died) is given this many probes to end by itself.
SICK_PROBES = 2


class Turnstile(Protocol):
    """The way to a device that engines share; each method is called by the engine's owner task."""

    async def enter(self) -> None:
        """Wait until the engine may start and take the device's memory; cancelled when it is not wanted any more."""
        ...

    def serves(self) -> None:
        """The engine is ready."""
        ...

    def left(self, reason: str) -> None:
        """The process has ended, and its memory is free; *reason* says what ended it."""
        ...


class OwnDevice:
    """The turnstile of an engine that shares its device with nobody."""

    async def enter(self) -> None:
        """Wait for nothing."""

    def serves(self) -> None:
        """Tell nobody."""

    def left(self, reason: str) -> None:
        """Tell nobody."""


class Engine:
    """One replica of one model."""

    def __init__(
        self,
        name: str,
        *,
        health: Call,
        endpoint: Endpoint,
        command: Callable[[], Awaitable[Command]],
        log_path: Path,
        lifecycle: Lifecycle,
        spawner: Spawner,
        changed: Callable[[], None],
        turnstile: Turnstile | None = None,
    ) -> None:
        self.name = name
        self.endpoint = endpoint
        self.state: ModelState = "stopped"
        self.reason = ""
        self.restarts = 0
        self.ready_seconds: float | None = None
        self.http = EngineHttp(endpoint)
        self._health = health
        self._command = command
        self._log_path = log_path
        self._lifecycle = lifecycle
        self._spawner = spawner
        self._changed = changed
        self._turnstile = turnstile or OwnDevice()
        self._condemned: asyncio.Future[str] | None = None
        self._grace_seconds = lifecycle.stop_seconds
        self._hurry: asyncio.Event | None = None
        self._failures: list[float] = []
        self._wanted = asyncio.Event()
        self._unwanted = asyncio.Event()
        self._unwanted.set()
        self._settled = asyncio.Event()
        self._settled.set()
        self._program: Program | None = None
        self._owner = asyncio.create_task(self._own(), name=f"engine {name}")

    @property
    def pid(self) -> int | None:
        """Process id of the engine's main process."""
        return self._program.pid if self._program else None

    @property
    def ready(self) -> bool:
        """Whether it serves."""
        return self.state == "ready"

    @property
    def settled(self) -> bool:
        """Whether nothing is under way: it serves, was given up, or is stopped."""
        return self._settled.is_set()

    def want(self) -> None:
        """Ask for the engine to run; a given-up engine gets a fresh set of tries."""
        if self.state == "failed":
            self._failures.clear()
        if self.state in ("failed", "stopped", "stopping"):
            self._settled.clear()
            self._set("starting" if self.state != "stopping" else "stopping")
        self._unwanted.clear()
        self._wanted.set()

    async def ensure_ready(self) -> None:
        """Return once the engine serves; raise EngineFailed with the reason when it was given up or stopped."""
        self.want()
        await self._settled.wait()
        if not self.ready:
            raise EngineFailed(f"{self.name}: {self.reason or 'it was stopped while it started'}")

    def fail(self, reason: str) -> None:
        """Kill the process, because of *reason*; it is started again as after any failure."""
        if self._condemned is not None and not self._condemned.done():
            self._condemned.set_result(reason)

    async def stop(self) -> None:
        """End the engine and wait until it is gone."""
        self._wanted.clear()
        self._unwanted.set()
        while self.state not in ("stopped", "failed"):
            self._settled.clear()
            await self._settled.wait()

    async def close(self, drain_seconds: float | None = None, hurry: asyncio.Event | None = None) -> None:
        """Stop for good; *drain_seconds* replaces ``stop_seconds`` as the time between SIGTERM and the kill.

        *hurry*, once set, ends the wait.
        """
        if drain_seconds is not None:
            self._grace_seconds = drain_seconds
        self._hurry = hurry
        await self.stop()
        self._owner.cancel()
        with suppress(asyncio.CancelledError):
            await self._owner
        await self.http.close()

    def _set(self, state: ModelState, reason: str = "") -> None:
        if (state, reason) != (self.state, self.reason):
            log.info("%s: %s%s", self.name, state, f" ({reason.splitlines()[0]})" if reason else "")
        self.state, self.reason = state, reason
        if state in ("ready", "failed", "stopped"):
            self._settled.set()
        else:
            self._settled.clear()
        self._changed()

    async def _own(self) -> None:
        while True:
            await self._wanted.wait()
            try:
                reason = await self._run_once()
            except Exception as err:  # a bug or a broken machine must not leave callers waiting
                log.exception("%s: cannot be run", self.name)
                reason = str(err)
            if self._unwanted.is_set():
                self._set("stopped")
            elif reason is not None:
                await self._after_failure(reason)

    async def _after_failure(self, reason: str) -> None:
        self._failures.append(time.monotonic())
        decision = after_failure(self._failures, self._lifecycle)
        if isinstance(decision, GiveUp):
            self._wanted.clear()
            self._set("failed", f"given up after {decision.failures} failures; the last one: {reason}")
            return
        self.restarts += 1
        self._set(
            "restarting",
            f"restart {decision.attempt} of {self._lifecycle.max_restarts} in {decision.wait_seconds:g} s: {reason}",
        )
        with suppress(TimeoutError):
            await asyncio.wait_for(self._unwanted.wait(), decision.wait_seconds)
        if self._unwanted.is_set():
            self._set("stopped")

    async def _run_once(self) -> str | None:
        """Run the process until it ends or is not wanted any more; return why it failed, None if it was stopped."""
        self._set("starting", self.reason if self.state == "restarting" else "")
        if not await self._unless_unwanted(self._turnstile.enter()):
            return None
        reason: str | None = "it could not be started"
        try:
            command = asyncio.ensure_future(self._command())
            reason = await self._run_program(command.result()) if await self._unless_unwanted(command) else None
            return reason
        finally:
            self._turnstile.left((reason or "it was stopped").partition(LAST_WORDS)[0])

    async def _run_program(self, command: Command) -> str | None:
        if self.endpoint.uds:
            Path(self.endpoint.uds).unlink(missing_ok=True)  # a stale socket file stops the start
        started = time.monotonic()
        program = await self._spawner.start(
            self.name,
            command.argv,
            env=command.env,
            log_path=self._log_path,
            grace_seconds=self._lifecycle.stop_seconds,
            unlink=[Path(self.endpoint.uds)] if self.endpoint.uds else [],
        )
        self._program = program
        self._condemned = asyncio.get_running_loop().create_future()
        try:
            return await self._watch(program, command, started)
        finally:
            self._set("stopping", self.reason)
            if self._condemned.done():
                program.kill()
            await self._end(program)
            self._program = self._condemned = None

    async def _unless_unwanted(self, work: Awaitable[object]) -> bool:
        """Wait for *work*, such as a turn that takes until others have started; return False if unwanted meanwhile."""
        working: asyncio.Future[object] = asyncio.ensure_future(work)
        unwanted: asyncio.Future[object] = asyncio.ensure_future(self._unwanted.wait())
        try:
            await asyncio.wait({working, unwanted}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                return False
            await working
            return True
        finally:
            for task in (working, unwanted):
                task.cancel()
            await asyncio.gather(working, unwanted, return_exceptions=True)

    async def _end(self, program: Program) -> None:
        """Ask the program to end, and kill it at the deadline, or as soon as somebody is in a hurry."""
        ending = asyncio.create_task(program.stop(self._grace_seconds))
        if self._hurry is not None:
            hurried = asyncio.create_task(self._hurry.wait())
            await asyncio.wait({ending, hurried}, return_when=asyncio.FIRST_COMPLETED)
            hurried.cancel()
            if self._hurry.is_set():
                program.kill()
        await ending

    async def _watch(self, program: Program, command: Command, started: float) -> str | None:
        ended = asyncio.create_task(program.wait())
        unwanted = asyncio.create_task(self._unwanted.wait())
        probing = asyncio.create_task(self._probe(program, command, started))
        condemned = self._condemned
        assert condemned is not None
        watched: set[asyncio.Future[Any]] = {ended, unwanted, probing, condemned}
        try:
            await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
            if unwanted.done():
                return None
            if condemned.done():
                return self._with_log(program, condemned.result())
            if ended.done():
                before = "" if self.state == "ready" else " before it was ready"
                return self._with_log(program, f"the engine {describe_status(ended.result())}{before}")
            return self._with_log(program, probing.result())
        finally:
            for task in (ended, unwanted, probing):
                task.cancel()

    @staticmethod
    def _with_log(program: Program, reason: str) -> str:
        lines = program.last_lines()
        return f"{reason}{LAST_WORDS} ({program.log_path}):\n{lines}" if lines else f"{reason}; see {program.log_path}"

    async def _probe(self, program: Program, command: Command, started: float) -> str:
        """Wait for ready, then watch; return what is wrong with the engine."""
        deadline = started + self._lifecycle.start_seconds
        while await self._ask() is not Health.OK:
            if time.monotonic() > deadline:
                return f"not ready after {self._lifecycle.start_seconds:g} s (lifecycle.start_seconds)"
            await asyncio.sleep(START_PROBE_SECONDS)
        if command.children_compute:
            program.let_servers_first()
        self.ready_seconds = time.monotonic() - started
        self._set("ready")
        self._turnstile.serves()
        silent = sick = 0
        while silent < self._lifecycle.probe_failures and sick < SICK_PROBES:
            await asyncio.sleep(self._lifecycle.probe_seconds)
            health = await self._ask()
            silent = silent + 1 if health is Health.SILENT else 0
            sick = sick + 1 if health is Health.SICK else 0
        return "its health check fails" if sick else f"no answer to {silent} health checks in a row"

    async def _ask(self) -> Health:
        return await self.http.health(self._health, max(PROBE_TIMEOUT_SECONDS, self._lifecycle.probe_seconds))
