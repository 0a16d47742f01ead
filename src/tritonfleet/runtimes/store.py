"""The runtimes that were built under the cache folder: which are complete, who may build, what to clear away.

A runtime is built in its final folder, because the programs of a virtual environment hold its path. It counts as
installed only once ``complete.json`` lies in it, which is written last; a folder without that file is what an
interrupted build left, and the next build clears it away.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from tritonfleet.errors import UsageError
from tritonfleet.runtimes.kinds import Kind

MARKER = "complete.json"


@dataclass(frozen=True)
class Manifest:
    """What was built; the content of ``complete.json``."""

    kind: str
    version: str
    python: str
    """Real path of the interpreter that the environment was made with."""
    python_version: str
    libdir: str | None
    """Folder of that interpreter's libpython."""
    size_bytes: int
    seconds: float
    """How long the build took."""


@dataclass(frozen=True)
class Installed:
    """A complete runtime in the cache."""

    folder: Path
    manifest: Manifest

    @property
    def python(self) -> Path:
        """The environment's Python."""
        return self.folder / "bin/python3"

    @property
    def damage(self) -> str | None:
        """Why it cannot run any more, or None: what it was made with may have gone since."""
        if not self.python.exists():
            return f"its Python {self.manifest.python} is gone"
        if self.manifest.libdir is not None and not any(Path(self.manifest.libdir).glob("libpython3*.so.1.0")):
            return f"libpython is gone from {self.manifest.libdir}"
        return None


class Store:
    """The folder ``runtimes`` in the cache."""

    def __init__(self, cache: Path) -> None:
        self.root = cache / "runtimes"

    def folder(self, kind: Kind) -> Path:
        """Where *kind* with its present pins belongs."""
        return self.root / f"{kind.name}-{kind.digest}"

    def log(self, kind: Kind) -> Path:
        """Where pip's output of the last build lies."""
        return self.root / f"{kind.name}.log"

    def get(self, kind: Kind) -> Installed | None:
        """Return *kind* as installed with its present pins and fit to run, else None."""
        found = _read(self.folder(kind))
        return found if found is not None and found.damage is None else None

    def all(self) -> tuple[Installed, ...]:
        """Return every complete runtime, those of other pins and damaged ones included."""
        found = (_read(marker.parent) for marker in sorted(self.root.glob(f"*/{MARKER}")))
        return tuple(entry for entry in found if entry is not None)

    @contextmanager
    def locked(self, kind: Kind, waiting: Callable[[], None] = lambda: None) -> Iterator[int]:
        """Hold the right to build or remove *kind*; call *waiting* first if another process has it.

        Yields the lock's descriptor: a child that inherits it keeps the lock when this process is killed.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.root / f".{kind.name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waiting()
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        finally:
            os.close(descriptor)

    def leftovers(self, kind: Kind) -> tuple[Path, ...]:
        """Return the folders of *kind* that are not complete (meaningful only while its lock is held)."""
        return tuple(folder for folder in self._folders(kind) if _read(folder) is None)

    def complete(self, folder: Path, manifest: Manifest) -> Installed:
        """Make *folder* count as installed, at once and for good."""
        draft = folder / f".{MARKER}"
        with draft.open("w", encoding="utf-8") as file:
            json.dump(asdict(manifest), file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(folder / MARKER)
        return Installed(folder, manifest)

    def remove(self, kind: Kind, *, outdated: bool = False) -> tuple[Installed, ...]:
        """Remove every build of *kind*, half-built ones included; return those that were complete.

        With *outdated*, the build of the present pins stays. Raises UsageError naming the process while one of them
        is in use, and removes none then.
        """
        with self.locked(kind):
            folders = [folder for folder in self._folders(kind) if not (outdated and folder == self.folder(kind))]
            for folder in folders:
                if user := _user_of(folder):
                    raise UsageError(f"{folder} is in use by {user}; stop the fleet first (`tritonfleet down`)")
            found = tuple(entry for folder in folders if (entry := _read(folder)))
            for folder in folders:
                clear(folder)
        return found

    def _folders(self, kind: Kind) -> tuple[Path, ...]:
        name = re.compile(re.escape(kind.name) + r"-[0-9a-f]{12}")
        return tuple(sorted(path for path in self.root.glob("*") if path.is_dir() and name.fullmatch(path.name)))


def clear(folder: Path) -> None:
    """Remove *folder*; it stops counting as installed before the first file goes."""
    (folder / MARKER).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def _read(folder: Path) -> Installed | None:
    try:
        return Installed(folder, Manifest(**json.loads((folder / MARKER).read_text(encoding="utf-8"))))
    except (OSError, ValueError, TypeError):
        return None


def _user_of(folder: Path) -> str | None:
    """Return a process that runs a program of *folder*, as ``name (process 12)``."""
    import psutil

    prefix = f"{folder}{os.sep}"
    for process in psutil.process_iter(["cmdline", "name"]):
        if any(word.startswith(prefix) for word in (process.info["cmdline"] or ())[:1]):
            return f"{process.info['name']} (process {process.pid})"
    return None
