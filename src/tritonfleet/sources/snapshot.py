"""Models in object stores: complete copies in the cache, one folder for each state of the objects.

A snapshot's folder has its final name only once every file is there, so an interrupted download is never mistaken
for a model. Files that did not change since an earlier snapshot are hard-linked, not downloaded.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial as bind
from pathlib import Path

from tritonfleet.errors import SourceError
from tritonfleet.progress import Meter, Progress, size_text
from tritonfleet.sources.model import ChatTemplate, ResolvedModel, Want, read_chat_template, require
from tritonfleet.sources.objects import (
    Address,
    ObjectStore,
    StoredObject,
    StoreUnreachable,
    copy_all,
    parse_address,
)
from tritonfleet.sources.selection import choose_files

log = logging.getLogger(__name__)

#: The newest snapshot and the one before it, which a running engine may still read.
KEPT = 2


def resolve_objects(
    source: str, *, cache: Path, environ: Mapping[str, str], progress: Progress, want: Want
) -> ResolvedModel:
    """Return the model at the object store address *source*, from the cache where nothing changed.

    A store that cannot be reached is no error while a complete copy is in the cache: it is used, with a warning.
    """
    address = parse_address(source)
    wanted = Path(address.prefix).name if address.prefix.endswith(".gguf") else None
    if wanted:
        address = replace(address, prefix=address.prefix.rpartition("/")[0])
    snapshots = Snapshots(_cache_folder(cache, address, wanted or want), source)
    try:
        store = ObjectStore(address, environ)
        objects = store.listing()
    except StoreUnreachable as err:
        folder = snapshots.newest()
        if folder is None:
            raise
        log.warning("%s; using the copy of %s", err, folder)
    else:
        chosen = _choose(objects, source, wanted, want)
        folder = snapshots.bring(store, chosen, progress)
    if wanted or (want == "model" and [path.suffix for path in folder.iterdir()] == [".gguf"]):
        path = next(folder.glob("*.gguf"))
        return ResolvedModel(source, "objects", path, source, folder.name)
    require(folder, source, want)
    chat = ChatTemplate() if want == "adapter" else read_chat_template(folder, source)
    return ResolvedModel(source, "objects", folder, source, folder.name, chat)


def _choose(
    objects: Mapping[str, StoredObject], source: str, wanted: str | None, want: Want
) -> dict[str, StoredObject]:
    if wanted:
        if wanted not in objects:
            raise SourceError(f"{source}: there is no such object")
        return {wanted: objects[wanted]}
    if not objects:
        raise SourceError(f"{source}: there are no objects under this prefix; check its spelling")
    return {name: objects[name] for name in choose_files(objects, source=source, want=want)}


def _cache_folder(cache: Path, address: Address, part: str) -> Path:
    """Return a folder of the address's own; the digest tells apart addresses that read alike."""
    digest = hashlib.sha256(str(address).encode()).hexdigest()[:12]
    readable = address.path.replace("/", "--")[-60:]
    return cache / "sources" / address.scheme / f"{readable}-{digest}" / part


class Snapshots:
    """The copies of one address: ``ID/`` with the files and ``ID.json`` with their versions."""

    def __init__(self, root: Path, label: str) -> None:
        self._root = root
        self._label = label

    def newest(self) -> Path | None:
        """Return the complete copy that was used last."""
        return max(self._complete(), key=lambda folder: folder.stat().st_mtime, default=None)

    def bring(self, store: ObjectStore, objects: Mapping[str, StoredObject], progress: Progress) -> Path:
        """Return a folder that holds exactly *objects*."""
        folder = self._root / _digest(objects)
        with self._lock():
            if not folder.is_dir():
                partial = self._root / f"{folder.name}.partial"
                self._fill(partial, store, objects, progress)
                manifest = {name: asdict(entry) for name, entry in objects.items()}
                _write(self._root / f"{folder.name}.json", json.dumps(manifest))
                partial.rename(folder)
            os.utime(folder)
            self._prune(folder)
        return folder

    def _fill(self, partial: Path, store: ObjectStore, objects: Mapping[str, StoredObject], progress: Progress) -> None:
        partial.mkdir(parents=True, exist_ok=True)
        self._link_unchanged(partial, objects)
        missing = {name: entry for name, entry in objects.items() if not (partial / name).is_file()}
        total = sum(entry.size for entry in missing.values())
        require_space(self._root, total, self._label)
        meter = Meter(self._label, total, progress)
        jobs = {name: bind(store.fetch, entry, partial / name) for name, entry in missing.items()}
        copy_all(jobs, meter)
        meter.finish()

    def _link_unchanged(self, partial: Path, objects: Mapping[str, StoredObject]) -> None:
        for folder in self._complete():
            known = json.loads((self._root / f"{folder.name}.json").read_text(encoding="utf-8"))
            for name, entry in objects.items():
                target = partial / name
                if entry.version and known.get(name) == asdict(entry) and not target.exists():
                    target.parent.mkdir(parents=True, exist_ok=True)
                    os.link(folder / name, target)

    def _complete(self) -> list[Path]:
        return [path.with_suffix("") for path in self._root.glob("*.json") if path.with_suffix("").is_dir()]

    def _prune(self, current: Path) -> None:
        """Remove half-made copies of other states, and all copies but the last ones."""
        kept = sorted(self._complete(), key=lambda folder: folder.stat().st_mtime, reverse=True)[:KEPT]
        for path in self._root.iterdir():
            if path.is_dir() and path != current and path not in kept:
                shutil.rmtree(path, ignore_errors=True)
                path.with_suffix(".json").unlink(missing_ok=True)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Let one process at a time work on this address."""
        self._root.mkdir(parents=True, exist_ok=True)
        with (self._root / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                log.info("%s: another process downloads it; waiting", self._label)
                fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _digest(objects: Mapping[str, StoredObject]) -> str:
    listing = sorted((entry.name, entry.size, entry.version) for entry in objects.values())
    return hashlib.sha256(json.dumps(listing).encode()).hexdigest()[:16]


def require_space(folder: Path, count: int, label: str) -> None:
    """Raise SourceError unless *count* bytes more fit on the disk of *folder*."""
    free = free_bytes(folder)
    if count > free:
        raise SourceError(
            f"{label}: needs {size_text(count)}, but {size_text(free)} are free in {folder}; make room, or choose "
            "another disk with TRITONFLEET_CACHE (hf:// models: HF_HOME)"
        )


def free_bytes(folder: Path) -> int:
    """Return the free bytes of the disk that *folder* is on, or will be."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _write(path: Path, text: str) -> None:
    part = path.with_name(f"{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
