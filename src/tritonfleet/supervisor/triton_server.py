"""tritonserver as a state machine: start, wait until it is live, watch it and its stubs, restart, give up."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from tritonfleet.engines.base import Runtime
from tritonfleet.errors import TritonFailed
from tritonfleet.layout import Layout
from tritonfleet.spec.models import FleetSpec
from tritonfleet.supervisor.policy import GiveUp, after_failure
from tritonfleet.supervisor.process import Program, Spawner, describe_status
from tritonfleet.supervisor.triton import StubWatch, TritonHttp, command
from tritonfleet.tracing.settings import bridge_environment, triton_settings
from tritonfleet.wire import CONTROL_VARIABLE, LAST_WORDS, ModelState

log = logging.getLogger(__name__)

START_SECONDS = 60.0
START_PROBE_SECONDS = 0.1
WATCH_SECONDS = 1.0
#: tritonserver that does not answer for this many looks is restarted.
SILENT_LOOKS = 15
#: Time that tritonserver may take, after its own drain deadline, to put its models away.
EXIT_MARGIN_SECONDS = 5.0


class TritonServer:
    """The one tritonserver of a fleet."""

    def __init__(
        self,
        runtime: Runtime,
        spec: FleetSpec,
        repositories: Sequence[str],
        layout: Layout,
        *,
        spawner: Spawner,
        shm_prefix: str,
        came_up: Callable[[], None],
        went_down: Callable[[], None],
        changed: Callable[[], None],
    ) -> None:
        self.state: ModelState = "stopped"
        self.reason = ""
        self.restarts = 0
        self._admin_key = secrets.token_hex(16) if spec.repository.api == "closed" else None
        self.http = TritonHttp(spec.doors.http.host, spec.doors.http.port, self._admin_key)
        self._runtime = runtime
        self._spec = spec
        self._repositories = tuple(repositories)
        self._layout = layout
        self._spawner = spawner
        self._shm_prefix = shm_prefix
        self._came_up = came_up
        self._went_down = went_down
        self._changed = changed
        self._program: Program | None = None
        self._stop = asyncio.Event()
        self._grace = 0.0

    @property
    def ready(self) -> bool:
        """Whether it serves."""
        return self.state == "ready"

    @property
    def running(self) -> bool:
        """Whether its process is there."""
        return self._program is not None and self._program.running

    @property
    def pid(self) -> int | None:
        """Process id of tritonserver."""
        return self._program.pid if self._program else None

    async def run(self) -> None:
        """Keep tritonserver running until ``stop``; return early, with ``reason`` set, when it is given up."""
        failures: list[float] = []
        while not self._stop.is_set():
            reason = await self._run_once()
            if reason is None:
                break
            failures.append(time.monotonic())
            decision = after_failure(failures, self._spec.lifecycle)
            if isinstance(decision, GiveUp):
                self._set(
                    "failed", f"tritonserver was given up after {decision.failures} failures; the last one: {reason}"
                )
                return
            self.restarts += 1
            self._set("restarting", reason)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), decision.wait_seconds)
        self._set("stopped")

    async def stop(self, drain_seconds: float, hurry: asyncio.Event) -> None:
        """Ask tritonserver to finish running requests and end; kill it at the deadline, or when *hurry* is set."""
        self._grace = drain_seconds
        self._stop.set()
        program = self._program
        if program is None:
            return
        self._set("draining")
        program.terminate()
        ended = asyncio.create_task(program.wait())
        hurried = asyncio.create_task(hurry.wait())
        await asyncio.wait(
            {ended, hurried}, timeout=drain_seconds + EXIT_MARGIN_SECONDS, return_when=asyncio.FIRST_COMPLETED
        )
        hurried.cancel()
        await program.stop(0.0)
        ended.cancel()

    async def close(self) -> None:
        """Close the connections to it."""
        await self.http.close()

    def _set(self, state: ModelState, reason: str = "") -> None:
        if (state, reason) != (self.state, self.reason):
            log.info("triton: %s%s", state, f" ({reason.splitlines()[0]})" if reason else "")
        self.state, self.reason = state, reason
        self._changed()

    async def _run_once(self) -> str | None:
        """Run tritonserver until it ends; return why it failed, or None when it was asked to stop."""
        self._set("starting", self.reason)
        doors, lifecycle = self._spec.doors, self._spec.lifecycle
        program = self._program = await self._spawner.start(
            "tritonserver",
            command(
                self._runtime,
                doors,
                self._repositories,
                self._layout.backends,
                shm_prefix=self._shm_prefix,
                drain_seconds=lifecycle.drain_seconds,
                tracing=triton_settings(self._spec),
                admin_key=self._admin_key,
            ),
            env={
                **self._runtime.env,
                CONTROL_VARIABLE: str(self._layout.control_socket),
                **bridge_environment(self._spec),
            },
            log_path=self._layout.logs / "triton.log",
            grace_seconds=lifecycle.drain_seconds + EXIT_MARGIN_SECONDS,
            shm=[self._shm_prefix],
        )
        stubs = StubWatch()
        ended = asyncio.create_task(program.wait())
        watching = asyncio.create_task(self._watch(program, stubs))
        stopping = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({ended, watching, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if self._stop.is_set():
                await ended  # `stop` ends it, with its deadline
                return None
            why = f"tritonserver {describe_status(ended.result())}" if ended.done() else watching.result()
            lines = program.last_lines()
            return f"{why}{LAST_WORDS} ({program.log_path}):\n{lines}" if lines else why
        finally:
            stubs.clear()
            for task in (ended, watching, stopping):
                task.cancel()
            self._went_down()
            if not self._stop.is_set():
                self._set("stopping", self.reason)
                # What it was doing cannot be finished: a dead stub's requests would hang for ever.
                await program.stop(0.0)
            self._program = None

    async def _watch(self, program: Program, stubs: StubWatch) -> str:
        deadline = time.monotonic() + START_SECONDS
        while not await self.http.live():
            if time.monotonic() > deadline:
                return f"tritonserver is not live after {START_SECONDS:g} s"
            await asyncio.sleep(START_PROBE_SECONDS)
        self._set("ready")
        self._came_up()
        silent = 0
        while silent < SILENT_LOOKS:
            with suppress(TimeoutError):
                await asyncio.wait_for(stubs.ended.wait(), WATCH_SECONDS)
            # Before the ended ones are judged: a load with another configuration starts new stubs as it ends the old.
            if (pid := program.pid) is not None:
                stubs.look(pid)
            for model in stubs.take_ended():
                if await self._was_needed(model, stubs):
                    return f"the model process (Triton stub) of {model} died"
            silent = 0 if await self.http.live() else silent + 1
        return f"tritonserver did not answer {silent} times in a row"

    async def _was_needed(self, model: str, stubs: StubWatch) -> bool:
        """Tell a stub that died from one that was put away with its model."""
        try:
            index = await self.http.index()
        except TritonFailed:
            return False  # the server itself is going down, which is noticed elsewhere
        if all(entry.state != "READY" for entry in index if entry.name == model):
            return False
        return stubs.alive(model) < await self.http.instances(model)
