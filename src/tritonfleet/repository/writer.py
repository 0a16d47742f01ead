"""Bring rendered files into a folder: each file at once or not at all, and nothing that is not ours is touched."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tritonfleet.errors import UsageError

log = logging.getLogger(__name__)

#: Lists the files that we wrote. Triton looks at folders only, so it does not see it.
MANIFEST = ".tritonfleet.json"


@dataclass(frozen=True)
class Written:
    """What a write changed, by path inside the repository."""

    changed: tuple[PurePosixPath, ...]
    """Files that were new or had other content."""
    removed: tuple[PurePosixPath, ...]
    """Files of ours that are no longer part of the repository."""


def write_repository(files: Mapping[PurePosixPath, str], folder: Path) -> Written:
    """Make *folder* hold *files*; remove files that an earlier call wrote and that are not among them.

    Files that this function did not write stay. Unchanged files are not touched, so Triton does not reload them.

    Raises UsageError if a model folder of the same name is there that is not ours, or if the disk refuses.
    """
    try:
        return _write(files, folder)
    except OSError as err:
        raise UsageError(f"{err.filename or folder}: cannot be written: {err.strerror}") from err


def _write(files: Mapping[PurePosixPath, str], folder: Path) -> Written:
    ours = _read_manifest(folder)
    _refuse_foreign(files, folder, ours)
    changed = tuple(path for path, text in files.items() if not _holds(folder / path, text))
    gone = tuple(sorted(ours.difference(files)))
    if changed or gone or ours != set(files):
        # First everything that may be there after a crash half-way: what is not listed would never be removed.
        _write_manifest(folder, ours.union(files))
        for path in changed:
            _replace(folder / path, files[path])
        for path in gone:
            _remove(folder, path)
        _write_manifest(folder, set(files))
    return Written(changed, gone)


def _refuse_foreign(files: Mapping[PurePosixPath, str], folder: Path, ours: set[PurePosixPath]) -> None:
    our_models = {path.parts[0] for path in ours}
    for name in sorted({path.parts[0] for path in files} - our_models):
        if (folder / name).exists():
            raise UsageError(
                f"{folder / name} is there already and was not written by tritonfleet; "
                "choose another folder, rename the model, or remove it"
            )


def _holds(path: Path, text: str) -> bool:
    try:
        return path.read_bytes() == text.encode()
    except FileNotFoundError:
        return False


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(text.encode())
    part.replace(path)


def _remove(folder: Path, path: PurePosixPath) -> None:
    (folder / path).unlink(missing_ok=True)
    for parent in path.parents[:-1]:
        try:
            (folder / parent).rmdir()
        except FileNotFoundError:
            continue
        except OSError:  # it holds files of someone else
            log.warning("%s is kept: it holds files that tritonfleet did not write", folder / parent)
            return


def _read_manifest(folder: Path) -> set[PurePosixPath]:
    path = folder / MANIFEST
    try:
        names = json.loads(path.read_text(encoding="utf-8"))["files"]
        paths = {PurePosixPath(name) for name in names}
    except FileNotFoundError:
        return set()
    except (ValueError, KeyError, TypeError) as err:
        raise UsageError(f"{path} is damaged ({err}); remove the folder {folder} and render it again") from err
    return {path for path in paths if not path.is_absolute() and ".." not in path.parts}


def _write_manifest(folder: Path, paths: set[PurePosixPath]) -> None:
    listed = sorted(map(str, paths))
    _replace(folder / MANIFEST, json.dumps({"version": 1, "files": listed}, indent=2) + "\n")
