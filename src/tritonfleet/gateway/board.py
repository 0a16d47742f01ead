"""Counts that all workers of a gateway share, in memory that they all map; no lock on the way of a request.

Each worker adds in a column of its own and reads the sum of a row, so two workers never write the same cell. A
count per minute keeps the minute in the upper bits of its cell: a cell of another minute counts as zero.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import struct
from pathlib import Path

ROWS = 8192
_NAME_BYTES = 8
#: Bits of a cell that hold a count per minute; the minute since 1970 takes the 25 above them.
_COUNT_BITS = 38
_COUNT_MASK = (1 << _COUNT_BITS) - 1


class Board:
    """The shared counts, as one worker sees them."""

    def __init__(self, path: Path | None, workers: int = 1, worker: int = 0) -> None:
        """Map the board at *path*, made by ``create``; None makes one that is not shared."""
        self._workers = workers
        self._worker = worker
        self._known: dict[str, int] = {}
        size = _size(workers)
        self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC) if path else None
        self._map = mmap.mmap(-1 if self._file is None else self._file, size)
        view = memoryview(self._map)
        self._names = view[: ROWS * _NAME_BYTES].cast("Q")
        self._cells = view[ROWS * _NAME_BYTES :].cast("q")

    @staticmethod
    def create(path: Path, workers: int) -> None:
        """Make an empty board for *workers* workers."""
        with path.open("wb") as file:
            file.truncate(_size(workers))

    def row(self, name: str) -> int:
        """Return the number of the row called *name*, the same in every worker."""
        found = self._known.get(name)
        if found is None:
            found = self._known[name] = self._find(name)
        return found

    def _find(self, name: str) -> int:
        digest = struct.unpack("Q", hashlib.blake2b(name.encode(), digest_size=8).digest())[0] or 1
        if self._file is not None:
            fcntl.lockf(self._file, fcntl.LOCK_EX)
        try:
            for step in range(ROWS):
                row: int = (digest + step) % ROWS
                if self._names[row] in (0, digest):
                    self._names[row] = digest
                    return row
        finally:
            if self._file is not None:
                fcntl.lockf(self._file, fcntl.LOCK_UN)
        raise RuntimeError(f"the gateway's board has no row left for {name!r} ({ROWS} are taken)")

    def add(self, row: int, amount: int) -> None:
        """Change this worker's share of a count."""
        self._cells[row * self._workers + self._worker] += amount

    def total(self, row: int) -> int:
        """Return the count of all workers."""
        first = row * self._workers
        return sum(self._cells[first : first + self._workers])

    def add_in_minute(self, row: int, minute: int, amount: int) -> None:
        """Change this worker's share of the count of one minute."""
        place = row * self._workers + self._worker
        cell = self._cells[place]
        count = (cell & _COUNT_MASK) if cell >> _COUNT_BITS == minute else 0
        self._cells[place] = minute << _COUNT_BITS | min(max(count + amount, 0), _COUNT_MASK)

    def total_in_minute(self, row: int, minute: int) -> int:
        """Return the count of all workers in one minute."""
        first = row * self._workers
        cells = self._cells[first : first + self._workers]
        return sum(cell & _COUNT_MASK for cell in cells if cell >> _COUNT_BITS == minute)

    def forget(self, worker: int) -> None:
        """Clear what a worker that died had counted."""
        for place in range(worker, len(self._cells), self._workers):
            if self._cells[place]:
                self._cells[place] = 0

    def close(self) -> None:
        """Unmap the board."""
        self._names.release()
        self._cells.release()
        self._map.close()
        if self._file is not None:
            os.close(self._file)


def _size(workers: int) -> int:
    return ROWS * _NAME_BYTES + ROWS * workers * 8
