"""Run a supervisor in the foreground or behind the terminal, and stop one."""

from __future__ import annotations

import asyncio
import logging
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.live import Live

from tritonfleet.cli.context import DEFAULT_SPEC, FleetHome
from tritonfleet.console import fleet_view
from tritonfleet.errors import EngineFailed, NotRunning
from tritonfleet.progress import TerminalProgress
from tritonfleet.spec import FleetSpec
from tritonfleet.supervisor import lock, ports
from tritonfleet.supervisor.fleet import Fleet
from tritonfleet.supervisor.prepare import prepare
from tritonfleet.supervisor.prepared import Prepared
from tritonfleet.supervisor.process import tail
from tritonfleet.wire import FleetStatus

log = logging.getLogger(__name__)

REFRESH_SECONDS = 1.0


def run_foreground(home: FleetHome, *, install: bool, ignore_plan: bool = False) -> None:
    """Run the supervisor in this process, with a live table on a terminal, until it is told to stop."""
    spec = home.load()
    with lock.hold(home.layout, spec.name):
        _log_to(home, terminal=not sys.stdout.isatty())
        ports.check(spec.doors)
        prepared = _prepare(spec, home, install=install, ignore_plan=ignore_plan)
        asyncio.run(_serve(prepared))


def _prepare(spec: FleetSpec, home: FleetHome, *, install: bool, ignore_plan: bool) -> Prepared:
    with TerminalProgress() as progress:
        return prepare(
            spec,
            home.layout,
            base=(home.spec_path or DEFAULT_SPEC).absolute().parent,
            cache=home.cache,
            environ=home.environ,
            install=install,
            progress=progress,
            ignore_plan=ignore_plan,
        )


async def _serve(prepared: Prepared) -> None:
    fleet = Fleet(prepared)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, fleet.request_stop)
    show = asyncio.create_task(_show(fleet)) if sys.stdout.isatty() else None
    try:
        await fleet.run()
    finally:
        if show is not None:
            show.cancel()
            await asyncio.gather(show, return_exceptions=True)


async def _show(fleet: Fleet) -> None:
    with Live(fleet_view(fleet.status()), console=Console(), refresh_per_second=4) as live:
        try:
            while True:
                await fleet.wait_change(REFRESH_SECONDS)
                live.update(fleet_view(fleet.status()))
        finally:
            live.update(fleet_view(fleet.status()))


def run_detached(home: FleetHome, *, install: bool, ignore_plan: bool = False) -> None:
    """Start a supervisor behind the terminal and wait until every model is ready or failed."""
    spec = home.load()
    with lock.hold(home.layout, spec.name):  # refuse early, and install in sight of the user
        ports.check(spec.doors)
        _prepare(spec, home, install=install, ignore_plan=ignore_plan)
    home.layout.logs.mkdir(parents=True, exist_ok=True)
    log_path = home.layout.logs / "supervisor.log"
    argv = [sys.executable, "-m", "tritonfleet", "up", str(home.spec_path or "fleet.yaml"), "--no-install"]
    argv += ["--state", str(home.layout.state), *(["--ignore-plan"] if ignore_plan else [])]
    with log_path.open("ab") as output:
        offset = output.tell()
        child = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, env=home.environ
        )
    status = _wait_settled(home, child)
    if status is None:
        raise EngineFailed(f"the supervisor ended while the fleet started:\n{tail(log_path, 12, offset)}")
    if status.gateway_state == "failed":
        raise EngineFailed(f"the OpenAI door does not open: {status.gateway_reason}")
    failed = [model.model for model in status.models if model.state == "failed"]
    if failed:
        others = "the other models are served" if len(failed) < len(status.models) else "no model is served"
        raise EngineFailed(
            f"not ready: {', '.join(failed)}; {others}. `tritonfleet logs {failed[0]}` shows more, "
            "`tritonfleet down` stops the fleet"
        )


def _wait_settled(home: FleetHome, child: subprocess.Popen[bytes]) -> FleetStatus | None:
    console = Console()
    status: FleetStatus | None = None
    with Live(console=console, refresh_per_second=4, transient=not console.is_terminal) as live:
        while child.poll() is None:
            try:
                status = home.client.status()
            except NotRunning:
                status = None
            if status is not None:
                live.update(fleet_view(status))
                if status.state in ("ready", "degraded"):
                    break
            try:
                child.wait(REFRESH_SECONDS / 3)
            except subprocess.TimeoutExpired:
                continue
    if not console.is_terminal and status is not None:
        console.print(fleet_view(status))
    return None if child.poll() is not None else status


def stop_fleet(home: FleetHome, drain_seconds: float | None) -> None:
    """Ask the supervisor to stop, and wait until its process is gone."""
    pid = lock.holder(home.layout)
    if pid is None:
        raise NotRunning(f"the fleet {home.name!r} is not running")
    handle = os.pidfd_open(pid)
    try:
        home.client.stop(drain_seconds)
        started = time.monotonic()
        with Console().status("draining: running requests finish, new ones are refused") as spinner:
            while not select.select([handle], [], [], REFRESH_SECONDS)[0]:
                spinner.update(f"stopping ({time.monotonic() - started:.0f} s)")
    finally:
        os.close(handle)


def _log_to(home: FleetHome, *, terminal: bool) -> None:
    """Send log records to the fleet's log file, and to stderr where no table is drawn."""
    home.layout.logs.mkdir(parents=True, exist_ok=True)
    form = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    path = home.layout.logs / "supervisor.log"
    handlers: list[logging.Handler] = []
    if not terminal or not _same_file(path):
        handlers.append(logging.FileHandler(path))
    if terminal:
        handlers.append(logging.StreamHandler())
    for handler in handlers:
        handler.setFormatter(form)
        root.addHandler(handler)


def _same_file(path: os.PathLike[str]) -> bool:
    """Whether stderr already goes to *path* (a detached supervisor)."""
    try:
        return os.path.samestat(Path(path).stat(), os.fstat(sys.stderr.fileno()))
    except (OSError, ValueError):
        return False
