"""Start and stop programs through keepers, so that nothing outlives the supervisor."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from tritonfleet.supervisor import keeper

log = logging.getLogger(__name__)

#: Variable that every process of a fleet carries; the janitor finds leftovers by it.
MARKER_VARIABLE = "TRITONFLEET_MARK"
#: Variable that every process of one program carries; used when its keeper was killed.
PROGRAM_VARIABLE = "TRITONFLEET_PROGRAM"
#: How much longer than the grace time a keeper may need to end what is left.
KEEPER_MARGIN_SECONDS = 10.0
#: Added to the niceness of processes that compute beside servers on the same cores.
COMPUTE_NICENESS = 10


class Program:
    """A running program under its keeper."""

    def __init__(
        self, name: str, process: asyncio.subprocess.Process, identity: str, log_path: Path, offset: int
    ) -> None:
        self.name = name
        self._identity = identity
        self.log_path = log_path
        self._process = process
        self._offset = offset
        self._ended = asyncio.create_task(process.wait(), name=f"end of {name}")

    @property
    def keeper_pid(self) -> int:
        """Process id of the keeper, which leads the program's session."""
        return self._process.pid

    @property
    def pid(self) -> int | None:
        """Process id of the program itself; None when it has ended or not started yet."""
        with suppress(OSError):
            first = Path(f"/proc/{self.keeper_pid}/task/{self.keeper_pid}/children").read_text().split()
            return int(first[0]) if first else None
        return None

    @property
    def running(self) -> bool:
        """Whether the program, or anything it started, may still be there."""
        return not self._ended.done()

    def let_servers_first(self) -> None:
        """Lower the priority of every thread of the program's children; what it does itself keeps its own."""
        with suppress(psutil.Error):
            for child in psutil.Process(self.pid).children(recursive=True) if self.pid else ():
                for thread in child.threads():
                    with suppress(ProcessLookupError):
                        os.setpriority(os.PRIO_PROCESS, thread.id, COMPUTE_NICENESS)

    async def wait(self) -> int:
        """Wait for the end and return the exit status (128 + N for signal N)."""
        status = await asyncio.shield(self._ended)
        if status < 0:
            # The keeper itself was killed: the program died with it, what it started may not have.
            self._kill_leftovers()
            status = 128 - status
        return status

    def terminate(self) -> None:
        """Ask the program to end; its keeper kills what is left after the grace time given at the start."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the program and everything it started, now."""
        self._signal(signal.SIGINT)

    def _signal(self, number: int) -> None:
        if self.running:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def stop(self, grace_seconds: float) -> int:
        """End the program and everything it started, by force after *grace_seconds*."""
        for ask, seconds in ((self.terminate, grace_seconds), (self.kill, KEEPER_MARGIN_SECONDS)):
            if seconds > 0:
                ask()
                with suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        return await self.wait()
        log.warning("%s: its keeper does not end; killing it", self.name)
        keeper.kill_all({self.keeper_pid})
        return await self.wait()

    def _kill_leftovers(self) -> None:
        keeper.kill_all(keeper.marked(f"{PROGRAM_VARIABLE}={self._identity}"))

    def last_lines(self, count: int = 12) -> str:
        """Return the last non-empty lines that this run wrote to its log."""
        return tail(self.log_path, count, self._offset)


class Spawner:
    """Starts programs for one fleet: holds the lifeline and knows the marker."""

    def __init__(self, marker: str, environ: Mapping[str, str]) -> None:
        self._marker = marker
        self._environ = environ
        self._read, self._write = os.pipe()

    async def start(
        self,
        name: str,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        log_path: Path,
        grace_seconds: float,
        unlink: Sequence[Path] = (),
        shm: Sequence[str] = (),
    ) -> Program:
        """Start *argv* with *env* added to the environment; its output is appended to *log_path*."""
        options = ["--grace", str(grace_seconds)]
        for path in unlink:
            options += ["--unlink", str(path)]
        for prefix in shm:
            options += ["--shm", prefix]
        identity = uuid.uuid4().hex
        log_path.parent.mkdir(parents=True, exist_ok=True)
        with log_path.open("ab") as output:
            offset = output.tell()
            environment = {**env, PROGRAM_VARIABLE: identity}
            process = await self._keeper([*options, "--", *argv], environment, output.fileno())
        return Program(name, process, identity, log_path, offset)

    async def start_janitor(self, *, unlink: Sequence[Path], shm: Sequence[str]) -> None:
        """Start the process that cleans up after a killed supervisor; it ends with the supervisor."""
        options = ["--sweep", f"{MARKER_VARIABLE}={self._marker}"]
        for path in unlink:
            options += ["--unlink", str(path)]
        for prefix in shm:
            options += ["--shm", prefix]
        await self._keeper(options, {}, subprocess.DEVNULL)

    async def _keeper(self, options: list[str], env: Mapping[str, str], output: int) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-S",
            keeper.__file__,
            "--lifeline",
            str(self._read),
            *options,
            env={**self._environ, MARKER_VARIABLE: self._marker, **env},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output if output == subprocess.DEVNULL else subprocess.STDOUT,
            pass_fds=(self._read,),
            start_new_session=True,
        )

    def close(self) -> None:
        """Let go of the lifeline: keepers that are left end their programs, the janitor cleans up."""
        for end in (self._write, self._read):
            os.close(end)


def tail(path: Path, count: int, offset: int = 0, *, window: int = 64 * 1024) -> str:
    """Return the last *count* non-empty lines of *path* at or after byte *offset*."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(offset, size - window))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return "\n".join([line for line in lines if line.strip()][-count:])


def describe_status(status: int) -> str:
    """Say an exit status in words, for example ``was killed by SIGKILL``."""
    if status > 128:
        with suppress(ValueError):
            return f"was killed by {signal.Signals(status - 128).name}"
    return f"ended with exit status {status}"
