"""One supervisor a state folder: a lock file held while the fleet is up."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tritonfleet.errors import AlreadyRunning, UsageError
from tritonfleet.layout import Layout


@contextmanager
def hold(layout: Layout, fleet: str) -> Iterator[None]:
    """Hold the fleet's lock; raise AlreadyRunning if another supervisor has it."""
    layout.state.mkdir(parents=True, exist_ok=True)
    make_private(layout.sockets.parent)
    with layout.lock_file.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = holder(layout)
            raise AlreadyRunning(
                f"the fleet {fleet!r} is up already (process {pid}); `tritonfleet down` stops it, "
                "--state starts a second one beside it"
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def holder(layout: Layout) -> int | None:
    """Return the process id of the running supervisor, or None."""
    with suppress(OSError, ValueError), layout.lock_file.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(file.read())
    return None


def make_private(folder: Path) -> None:
    """Make the folder of all sockets; refuse one that another user made."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise UsageError(f"{folder}: must be a folder of your own with mode 0700; remove it and try again")
