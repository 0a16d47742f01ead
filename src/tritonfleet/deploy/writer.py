"""Put a rendered deployment into a folder; unchanged files are not touched."""

from __future__ import annotations

from pathlib import Path

from tritonfleet.deploy.rendering import REPOSITORY, Rendered
from tritonfleet.errors import UsageError
from tritonfleet.repository import write_repository


def write(rendered: Rendered, folder: Path) -> tuple[Path, ...]:
    """Write *rendered* below *folder*; return what was written or removed. Raises UsageError if the disk refuses."""
    changed = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in rendered.files.items():
            path = folder / name
            if not path.is_file() or path.read_bytes() != text.encode():
                part = path.with_name(f".{path.name}.part")
                part.write_text(text, encoding="utf-8")
                part.replace(path)
                changed.append(path)
    except OSError as err:
        raise UsageError(f"{err.filename or folder}: cannot be written: {err.strerror}") from err
    repository = folder / REPOSITORY
    repository.mkdir(exist_ok=True)
    written = write_repository(rendered.repository, repository)
    return (*changed, *(repository / path for path in (*written.changed, *written.removed)))
