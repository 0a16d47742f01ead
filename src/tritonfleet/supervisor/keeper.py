"""Run one program and see to it that nothing of it outlives the supervisor. Run as a script; stdlib only.

    python -I -S keeper.py --lifeline FD --grace SECONDS [--unlink PATH]... [--shm PREFIX]... -- PROGRAM ARG...
    python -I -S keeper.py --lifeline FD --sweep MARKER [--unlink PATH]... [--shm PREFIX]...

The supervisor starts every program through a keeper of its own, in a session of its own. The keeper makes itself
the reaper of all descendants (PR_SET_CHILD_SUBREAPER), so even a worker that detached itself is found again.
It ends everything, and removes the named files, in three cases:

- the program ends by itself (a killed API server must not leave its engine core behind);
- the keeper gets SIGTERM: it passes it on and kills what is left after the grace time (SIGINT: at once);
- the lifeline, a pipe whose other end only the supervisor holds, reads end-of-file: the supervisor is dead.

Should the keeper itself be killed, the program dies with it (PR_SET_PDEATHSIG) and the second form, the janitor,
finds what is left by a marker in its environment. The keeper's exit status is the program's, 128 + N for signal N.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import select
import shutil
import signal
import sys
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
#: Grace after the supervisor's death: requests cannot be drained any more, engines only need to let go of the GPU.
ORPHAN_GRACE_SECONDS = 2.0
#: How long the janitor lets the other keepers work before it kills what carries the marker.
SWEEP_AFTER_SECONDS = 5.0

_libc = ctypes.CDLL(None, use_errno=True)


def prctl(option: int, value: int) -> None:
    """Call prctl(2); failing here means an unsupported kernel, so it is an error."""
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}, {value})")


def children_of(roots: set[int]) -> set[int]:
    """Return the ids of all living descendants of *roots*."""
    parents: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = Path("/proc", entry, "stat").read_text()
            except OSError:
                continue  # it ended meanwhile
            state, parent = stat.rpartition(")")[2].split()[:2]
            if state != "Z":
                parents[int(entry)] = int(parent)
    found: set[int] = set()
    wave = set(roots)
    while wave:
        wave = {pid for pid, parent in parents.items() if parent in wave} - found - roots
        found |= wave
    return found


def marked(marker: str) -> set[int]:
    """Return the ids of living processes whose environment holds *marker*, this one excepted."""
    found = set()
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            try:
                variables = Path("/proc", entry, "environ").read_bytes().split(b"\0")
            except OSError:
                continue  # it ended, or is another user's
            if marker.encode() in variables:
                found.add(int(entry))
    return found


def kill_all(pids: set[int], number: int = signal.SIGKILL) -> None:
    """Send signal *number* to each of *pids* that is still there."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue


def clean(unlink: list[str], shm: list[str]) -> None:
    """Remove files and folders, and the shared-memory regions whose names start with a prefix."""
    for name in unlink:
        path = Path(name)
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    regions = Path("/dev/shm")  # noqa: S108 - where Triton keeps its regions
    for prefix in shm:
        for region in regions.glob(f"{prefix}*"):
            region.unlink(missing_ok=True)


class Keeper:
    """One program's keeper: a loop over the lifeline, signals and the program's end."""

    def __init__(self, lifeline: int, grace: float, argv: list[str]) -> None:
        self.lifeline = lifeline
        self.grace = grace
        self.argv = argv
        self.deadline: float | None = None
        self.program = 0
        self.status: int | None = None
        self.watch_lifeline = True
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)
        os.set_blocking(self._wake_read, False)

    def start(self) -> None:
        """Fork and execute the program."""
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        keeper = os.getpid()
        self.program = os.fork()
        if self.program == 0:
            self._become_program(keeper)

    def _become_program(self, keeper: int) -> None:
        try:
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != keeper:
                os._exit(1)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            os.execvp(self.argv[0], self.argv)  # noqa: S606 - replaces the fork
        except OSError as err:
            os.write(2, f"cannot start {self.argv[0]}: {err.strerror}\n".encode())
        os._exit(127)

    def _on_stop(self, number: int, _: object) -> None:
        self.stop(0.0 if number == signal.SIGINT else self.grace)

    def stop(self, grace: float) -> None:
        """Pass SIGTERM on to the program; what is left after *grace* seconds is killed."""
        kill_all({self.program}, signal.SIGTERM)
        end = time.monotonic() + grace
        self.deadline = end if self.deadline is None else min(self.deadline, end)

    def run(self) -> int:
        """Wait for the program to end, end all that it left, and return its exit status."""
        while self.status is None:
            timeout = None if self.deadline is None else max(0.0, self.deadline - time.monotonic())
            watched = [self._wake_read] + ([self.lifeline] if self.watch_lifeline else [])
            readable, _, _ = select.select(watched, [], [], timeout)
            if self._wake_read in readable:
                os.read(self._wake_read, 4096)
            if self.lifeline in readable and os.read(self.lifeline, 1) == b"":
                self.watch_lifeline = False
                self.stop(min(self.grace, ORPHAN_GRACE_SECONDS))
            if self.deadline is not None and time.monotonic() >= self.deadline:
                kill_all(children_of({os.getpid()}))
                self.deadline = None
            self._reap()
        self._end_rest()
        return self.status

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.program:
                code = os.waitstatus_to_exitcode(status)
                self.status = code if code >= 0 else 128 - code

    def _end_rest(self) -> None:
        while True:
            rest = children_of({os.getpid()})
            kill_all(rest)
            try:
                os.waitpid(-1, 0 if rest else os.WNOHANG)
            except ChildProcessError:
                return


def sweep(lifeline: int, marker: str) -> None:
    """Wait for the supervisor's death, give the keepers their time, then kill what carries *marker*."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it must outlive everybody else
    while os.read(lifeline, 1) != b"":
        pass
    deadline = time.monotonic() + SWEEP_AFTER_SECONDS
    while (left := marked(marker)) and time.monotonic() < deadline:
        _wait_for_end(left, deadline - time.monotonic())
    kill_all(marked(marker))


def _wait_for_end(pids: set[int], seconds: float) -> None:
    """Return when one of *pids* has ended, or after *seconds*."""
    handles = []
    for pid in pids:
        try:
            handles.append(os.pidfd_open(pid))
        except ProcessLookupError:
            continue
    if handles:
        select.select(handles, [], [], max(0.0, seconds))
    for handle in handles:
        os.close(handle)


def main(arguments: list[str]) -> int:
    """Parse *arguments* and keep or sweep."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--lifeline", type=int, required=True)
    parser.add_argument("--grace", type=float, default=10.0)
    parser.add_argument("--sweep", default="")
    parser.add_argument("--unlink", action="append", default=[])
    parser.add_argument("--shm", action="append", default=[])
    parser.add_argument("argv", nargs=argparse.REMAINDER)
    options = parser.parse_args(arguments)
    os.set_inheritable(options.lifeline, False)
    status = 0
    try:
        if options.sweep:
            sweep(options.lifeline, options.sweep)
        else:
            keeper = Keeper(options.lifeline, options.grace, options.argv[1:])
            keeper.start()
            status = keeper.run()
    finally:
        clean(options.unlink, options.shm)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
