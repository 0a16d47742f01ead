"""Carry a repository to or from an object store: only what changed, and deletions only when asked for.

Files are the same when size and MD5 agree. S3 tells the MD5 of an object in its ETag; for an object that went up in
parts it is the MD5 of the parts' MD5s, which is computed here for the part sizes in use. An ETag that is no MD5 at
all (buckets that encrypt with KMS) makes a file count as changed: it is copied again, never missed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tritonfleet.errors import UsageError
from tritonfleet.progress import Meter, Progress
from tritonfleet.sources.objects import ObjectStore, StoredObject, copy_all
from tritonfleet.sources.snapshot import require_space

#: Stands for an empty folder, which an object store cannot hold; an ensemble's version folder is empty.
KEEP = ".keep"
#: Part sizes by which an upload may have been split: s3fs, the AWS command line, boto3's and other tools' larger ones.
PART_SIZES = tuple(size * 2**20 for size in (8, 16, 32, 50, 64, 100, 128, 256, 512))


@dataclass(frozen=True)
class SyncPlan:
    """What a sync will do, by name relative to the repository."""

    copy: tuple[str, ...]
    """New or changed."""
    same: tuple[str, ...]
    """Equal on both sides."""
    extra: tuple[str, ...]
    """On the target alone; deleted only when asked for."""
    size: int
    """Bytes to copy."""


def plan_sync(source: Mapping[str, int], target: Mapping[str, int], equal: Callable[[str], bool]) -> SyncPlan:
    """Return what must be copied; *source* and *target* map names to sizes in bytes.

    *equal* compares the contents of a name that has the same size on both sides.
    """
    same = tuple(sorted(name for name, size in source.items() if target.get(name) == size and equal(name)))
    copy = tuple(sorted(source.keys() - set(same)))
    extra = tuple(sorted(target.keys() - source.keys()))
    return SyncPlan(copy, same, extra, sum(source[name] for name in copy))


class Push:
    """From a folder to an object store."""

    def __init__(self, folder: Path, store: ObjectStore) -> None:
        self._folder = folder
        self._store = store
        files = local_files(folder)
        stored = store.listing()
        empty = dict.fromkeys(_empty_folders(folder), 0)
        self.plan = plan_sync(
            {name: path.stat().st_size for name, path in files.items()} | empty,
            {name: entry.size for name, entry in stored.items()},
            lambda name: name in empty or same_content(files[name], stored[name]),
        )
        self._files = files

    def run(self, progress: Progress, *, delete: bool) -> None:
        """Copy, then delete what is extra if *delete*; config.pbtxt goes last, so no half model is seen."""
        later = [name for name in self.plan.copy if PurePosixPath(name).name == "config.pbtxt"]
        sooner = [name for name in self.plan.copy if name not in later]
        meter = Meter(f"push {self._folder.name}", self.plan.size, progress)
        copy_all({name: self._job(name) for name in sooner}, meter)
        copy_all({name: self._job(name) for name in later}, meter)
        meter.finish()
        if delete:
            self._store.delete(self.plan.extra)

    def _job(self, name: str) -> Callable[[Callable[[int], None]], None]:
        if name in self._files:
            return lambda add: self._store.upload(self._files[name], name, add)
        return lambda add: self._store.write(name, b"")


class Pull:
    """From an object store to a folder."""

    def __init__(self, store: ObjectStore, folder: Path) -> None:
        self._store = store
        self._folder = folder
        self._stored = store.listing()
        if not self._stored:
            raise UsageError(f"{store.address}: there is nothing to pull; check the address")
        files = local_files(folder) if folder.is_dir() else {}
        self.plan = plan_sync(
            {name: entry.size for name, entry in self._stored.items()},
            {name: path.stat().st_size for name, path in files.items()},
            lambda name: same_content(files[name], self._stored[name]),
        )

    def run(self, progress: Progress, *, delete: bool) -> None:
        """Copy, each file at once or not at all, then delete what is extra if *delete*."""
        require_space(self._folder, self.plan.size, str(self._store.address))
        self._folder.mkdir(parents=True, exist_ok=True)
        meter = Meter(f"pull {self._store.address}", self.plan.size, progress)
        copy_all({name: self._job(name) for name in self.plan.copy}, meter)
        meter.finish()
        for name in self.plan.extra if delete else ():
            path = self._folder / name
            path.unlink()
            for parent in path.relative_to(self._folder).parents[:-1]:
                if any((self._folder / parent).iterdir()):
                    break
                (self._folder / parent).rmdir()

    def _job(self, name: str) -> Callable[[Callable[[int], None]], None]:
        return lambda add: self._store.fetch(self._stored[name], self._folder / name, add)


def local_files(folder: Path) -> dict[str, Path]:
    """Return the files below *folder* by their names relative to it; hidden ones and half-made copies are left out.

    Symbolic links are followed, as Triton follows them.
    """
    return {
        (path / name).relative_to(folder).as_posix(): path / name
        for path, _, names in _walk(folder)
        for name in names
        if not _hidden(name) and (path / name).is_file()
    }


def _empty_folders(folder: Path) -> Iterator[str]:
    for path, folders, names in _walk(folder):
        if path != folder and not folders and not names:
            yield (path / KEEP).relative_to(folder).as_posix()


def _walk(folder: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    seen: set[str] = set()
    for root, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(root)
        if real in seen:  # a link to a folder above it
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not _hidden(name))
        yield Path(root), folders, sorted(names)


def _hidden(name: str) -> bool:
    return (name.startswith(".") and name != KEEP) or name == "__pycache__"


def same_content(path: Path, stored: StoredObject) -> bool:
    """Whether the file has the content of the object, by the object's MD5 or multipart ETag."""
    expected, dash, parts = stored.version.partition("-")
    if not dash:
        return _md5(path) == expected
    if not parts.isdigit():
        return False
    count = int(parts)
    sizes = [size for size in PART_SIZES if -(-stored.size // size) == count]
    return any(_multipart_md5(path, size) == stored.version for size in sizes)


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _multipart_md5(path: Path, part_size: int) -> str:
    digests = []
    with path.open("rb") as file:
        while part := file.read(part_size):
            digests.append(hashlib.md5(part, usedforsecurity=False).digest())
    return f"{hashlib.md5(b''.join(digests), usedforsecurity=False).hexdigest()}-{len(digests)}"
