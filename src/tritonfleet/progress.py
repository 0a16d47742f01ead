"""How long work tells how far it is, and how the terminal shows it."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

#: Without a terminal (a log file, CI) one line each this many seconds, and one at the end.
PLAIN_SECONDS = 5.0


@dataclass(frozen=True)
class Transfer:
    """How far one piece of work is."""

    label: str
    """What is worked on, for example ``hf://org/name``; one line on the screen each."""
    done: int
    """Units done so far; what lay in a cache already is not counted."""
    total: int
    """Units to do; the work has ended once *done* reaches it."""
    unit: Literal["bytes", "packages", "files"] = "bytes"
    """What is counted."""
    note: str = ""
    """Shown after the amount, for example ``412.0 MiB, 35 s``."""


#: Called from any thread, many times a second. An exception that it raises ends the work and passes through.
Progress = Callable[[Transfer], None]


def silent(transfer: Transfer) -> None:
    """Show nothing."""


class Stopped(Exception):
    """Ends a copy inside a library; whoever started the copy sees what the callback raised instead."""


class Meter:
    """Adds up the bytes of files that are copied side by side and reports the sum.

    What the callback raises must not pass through the threads of the libraries that copy: a KeyboardInterrupt
    there would end their event loop for good. So it is kept, the copy ends with Stopped, and ``reraise`` gives it
    back in the caller's thread.
    """

    def __init__(self, label: str, total: int, progress: Progress) -> None:
        self._label = label
        self._total = total
        self._progress = progress
        self._done = 0
        self._lock = threading.Lock()
        self._failure: BaseException | None = None

    def add(self, count: int) -> None:
        """Count *count* more bytes; raise Stopped once the callback has raised."""
        with self._lock:
            self._done += count
            # The last byte is reported by finish(): until then a copy can still fail.
            self._report(min(self._done, self._total - 1))

    def finish(self) -> None:
        """Report the end."""
        self.reraise()
        self._progress(Transfer(self._label, self._total, self._total))

    def reraise(self) -> None:
        """Raise what the callback raised, if it did."""
        if self._failure is not None:
            raise self._failure

    def _report(self, done: int) -> None:
        if self._failure is None:
            try:
                self._progress(Transfer(self._label, done, self._total))
            except BaseException as err:
                self._failure = err
        if self._failure is not None:
            raise Stopped


class TerminalProgress:
    """Shows work on standard error: bars on a terminal, a line now and then elsewhere.

    Bars appear with the first call and go once all work has ended. Use it as a context manager, so that they also
    go when the work fails.
    """

    def __init__(self) -> None:
        self._show: Progress = _Bars() if sys.stderr.isatty() else _PlainLines()

    def __call__(self, transfer: Transfer) -> None:
        """Show *transfer*."""
        self._show(transfer)

    def __enter__(self) -> TerminalProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(self._show, _Bars):
            self._show.stop()


class _Bars:
    """Progress as rich's bars."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bars: RichProgress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._running: set[str] = set()

    def __call__(self, transfer: Transfer) -> None:
        with self._lock:
            if transfer.done < transfer.total:
                self._running.add(transfer.label)
            elif transfer.label not in self._running:
                return  # nothing had to be done
            else:
                self._running.remove(transfer.label)
            self._update(transfer)
            if not self._running:
                self._stop()

    def _update(self, transfer: Transfer) -> None:
        if self._bars is None:
            self._bars = _new_bars()
            self._bars.start()
        if transfer.label not in self._tasks:
            self._tasks[transfer.label] = self._bars.add_task(transfer.label, total=transfer.total, amount="")
        self._bars.update(
            self._tasks[transfer.label],
            completed=transfer.done,
            total=transfer.total,
            amount=amount_text(transfer),
        )

    def stop(self) -> None:
        """Take the bars away."""
        with self._lock:
            self._stop()

    def _stop(self) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None
            self._tasks.clear()


def _new_bars() -> RichProgress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[amount]}"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=Console(stderr=True))


class _PlainLines:
    """Progress as lines of text."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shown: dict[str, float] = {}

    def __call__(self, transfer: Transfer) -> None:
        now = time.monotonic()
        with self._lock:
            last = self._shown.get(transfer.label)
            if transfer.done >= transfer.total:
                if self._shown.pop(transfer.label, None) is None:
                    return  # nothing had to be done
            elif last is not None and now - last < PLAIN_SECONDS:
                return
            else:
                self._shown[transfer.label] = now
            print(f"{transfer.label}: {amount_text(transfer)}", file=sys.stderr, flush=True)  # noqa: T201 - for the user


def amount_text(transfer: Transfer) -> str:
    """Return the amount in words, for example ``1.2 GiB of 13.5 GiB``."""
    if transfer.unit == "bytes":
        text = f"{size_text(transfer.done)} of {size_text(transfer.total)}"
    else:
        text = f"{transfer.done} of {transfer.total} {transfer.unit}"
    return f"{text}, {transfer.note}" if transfer.note else text


def size_text(count: float) -> str:
    """Return *count* bytes in the unit that reads best, for example ``13.5 GiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
