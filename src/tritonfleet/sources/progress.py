"""How a transfer tells how far it is, and how the terminal shows it."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

#: Without a terminal (a log file, CI) one line each this many seconds, and one at the end.
PLAIN_SECONDS = 5.0


@dataclass(frozen=True)
class Transfer:
    """How far one transfer is."""

    label: str
    """What is copied, for example ``hf://org/name``."""
    done: int
    """Bytes copied so far; what lay in the cache already is not counted."""
    total: int
    """Bytes to copy."""


#: Called from any thread, many times a second. An exception that it raises ends the transfer and passes through.
ProgressCallback = Callable[[Transfer], None]


def silent(transfer: Transfer) -> None:
    """Show nothing."""


class Meter:
    """Adds up the bytes of files that are copied side by side and reports the sum."""

    def __init__(self, label: str, total: int, progress: ProgressCallback) -> None:
        self._label = label
        self._total = total
        self._progress = progress
        self._done = 0
        self._lock = threading.Lock()
        self._failure: BaseException | None = None

    def add(self, count: int) -> None:
        """Count *count* more bytes."""
        with self._lock:
            self._done += count
            self._report(min(self._done, self._total))

    def finish(self) -> None:
        """Report the end."""
        with self._lock:
            self._report(self._total)

    def _report(self, done: int) -> None:
        try:
            self._progress(Transfer(self._label, done, self._total))
        except BaseException as err:
            self._failure = err
            raise

    def reraise(self) -> None:
        """Raise what the callback raised, whatever the libraries in between made of it."""
        if self._failure is not None:
            raise self._failure


def size_text(count: float) -> str:
    """Return *count* bytes in the unit that reads best, for example ``13.5 GiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


@contextmanager
def terminal_progress() -> Iterator[ProgressCallback]:
    """Show transfers on standard error: bars on a terminal, a line now and then elsewhere."""
    if sys.stderr.isatty():
        with _bars() as callback:
            yield callback
    else:
        yield _PlainLines()


@contextmanager
def _bars() -> Iterator[ProgressCallback]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TaskID,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    tasks: dict[str, TaskID] = {}
    lock = threading.Lock()
    with Progress(*columns, console=Console(stderr=True)) as progress:

        def show(transfer: Transfer) -> None:
            with lock:
                if transfer.label not in tasks:
                    tasks[transfer.label] = progress.add_task(transfer.label, total=transfer.total)
                progress.update(tasks[transfer.label], completed=transfer.done, total=transfer.total)

        yield show


class _PlainLines:
    """Progress as lines of text."""

    def __init__(self) -> None:
        self._shown: dict[str, float] = {}
        self._ended: set[str] = set()

    def __call__(self, transfer: Transfer) -> None:
        now = time.monotonic()
        ended = transfer.done >= transfer.total
        if transfer.label in self._ended or (
            not ended and now - self._shown.get(transfer.label, -PLAIN_SECONDS) < PLAIN_SECONDS
        ):
            return
        self._shown[transfer.label] = now
        if ended:
            self._ended.add(transfer.label)
        part = 100 * transfer.done // transfer.total if transfer.total else 100
        print(  # noqa: T201 - text for the user
            f"{transfer.label}: {size_text(transfer.done)} of {size_text(transfer.total)} ({part} %)",
            file=sys.stderr,
            flush=True,
        )
