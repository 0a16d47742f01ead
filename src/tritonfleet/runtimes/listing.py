"""What `tritonfleet runtime list` shows: every kind, what of it is here, and older builds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from rich.table import Table
from rich.text import Text

from tritonfleet import runtimes
from tritonfleet.errors import FleetError
from tritonfleet.progress import size_text
from tritonfleet.runtimes.kinds import KINDS, Kind
from tritonfleet.runtimes.store import Installed, Store

State = Literal["installed", "found", "missing", "broken", "outdated"]
_STYLES: Mapping[State, str] = {
    "installed": "green",
    "found": "green",
    "missing": "dim",
    "broken": "red",
    "outdated": "yellow",
}


@dataclass(frozen=True)
class Entry:
    """One line of the list."""

    kind: str
    state: State
    version: str = ""
    where: str = ""
    """Path of the program, or what to do to get it."""
    size_bytes: int | None = None
    """Size of a build; None for what was found on the machine."""

    def as_json(self) -> dict[str, Any]:
        """Return the entry as JSON values."""
        return asdict(self)


def entries(cache: Path, environ: Mapping[str, str]) -> tuple[Entry, ...]:
    """Return a line for every kind, and one for each build in the cache that is not used any more."""
    store = Store(cache)
    built = store.all()
    lines = []
    for kind in KINDS.values():
        lines.append(_current(kind, store, cache, environ))
        lines += [_unused(entry, kind, store) for entry in built if _is_unused(entry, kind, store)]
    return tuple(lines)


def _current(kind: Kind, store: Store, cache: Path, environ: Mapping[str, str]) -> Entry:
    try:
        found = runtimes.resolve(kind.name, runtimes.AUTO, cache=cache, environ=environ)
    except FleetError as err:
        return Entry(kind.name, "broken", where=str(err))
    if found is None:
        how = f"tritonfleet runtime install {kind.name}" if kind.buildable else kind.how_to_get
        return Entry(kind.name, "missing", where=how)
    if found.origin != "installed":
        return Entry(kind.name, "found", found.version, str(found.executable))
    installed = store.get(kind)
    size = installed.manifest.size_bytes if installed else None
    return Entry(kind.name, "installed", found.version, str(store.folder(kind)), size)


def _is_unused(entry: Installed, kind: Kind, store: Store) -> bool:
    if entry.manifest.kind != kind.name:
        return False
    return entry.folder != store.folder(kind) or entry.damage is not None


def _unused(entry: Installed, kind: Kind, store: Store) -> Entry:
    manifest = entry.manifest
    if entry.folder == store.folder(kind):
        where = f"{entry.damage}; `tritonfleet runtime install {kind.name}` builds it again"
        return Entry(kind.name, "broken", manifest.version, where, manifest.size_bytes)
    return Entry(kind.name, "outdated", manifest.version, str(entry.folder), manifest.size_bytes)


def table(lines: Sequence[Entry]) -> Table:
    """Return the list as a table."""
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("KIND", "STATE", "VERSION", "SIZE"):
        shown.add_column(name, no_wrap=True, justify="right" if name == "SIZE" else "left")
    shown.add_column("WHERE", overflow="fold")
    for line in lines:
        size = "" if line.size_bytes is None else size_text(line.size_bytes)
        shown.add_row(line.kind, Text(line.state, style=_STYLES[line.state]), line.version, size, line.where)
    return shown
