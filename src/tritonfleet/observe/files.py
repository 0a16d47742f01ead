"""Write what was rendered; the only part of this package that touches a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from tritonfleet.errors import UsageError


def write_files(files: Mapping[PurePosixPath, str], folder: Path) -> tuple[Path, ...]:
    """Write *files* below *folder* and return their paths; raise UsageError where that cannot be."""
    paths = []
    for name, text in files.items():
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as err:
            raise UsageError(f"cannot write {path}: {err.strerror}; choose another folder with -o") from err
        paths.append(path)
    return tuple(paths)
