"""Show and follow log files."""

from __future__ import annotations

import difflib
import os
import time
from pathlib import Path
from typing import TextIO

from tritonfleet.cli.context import FleetHome
from tritonfleet.errors import UsageError
from tritonfleet.supervisor.process import tail

FOLLOW_SECONDS = 0.3


def show_logs(home: FleetHome, name: str | None, lines: int, follow: bool, out: TextIO) -> None:
    """Print the last *lines* of each log of *name*, then what is added while *follow*."""
    paths = _paths(home, name)
    for path in paths:
        if len(paths) > 1:
            print(f"==> {path.stem} <==", file=out)
        print(tail(path, lines, window=1 << 22), file=out)
    if follow:
        _follow(paths, out)


def _paths(home: FleetHome, name: str | None) -> list[Path]:
    folder = home.layout.logs
    found = {path.stem: path for path in sorted(folder.glob("*.log"))}
    if not found:
        raise UsageError(f"no logs in {folder}; the fleet {home.name!r} was never started")
    if name is None:
        return list(found.values())
    matching = [path for stem, path in found.items() if stem == name or stem.rpartition("-")[0] == name]
    if not matching:
        names = sorted(
            {stem if stem in ("triton", "supervisor", "gateway") else stem.rpartition("-")[0] or stem for stem in found}
        )
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(names)}"
        raise UsageError(f"no log of {name!r}; {hint}")
    return matching


def _follow(paths: list[Path], out: TextIO) -> None:
    files = [path.open("r", encoding="utf-8", errors="replace") for path in paths]
    for file in files:
        file.seek(0, os.SEEK_END)
    try:
        while True:
            for file in files:
                while text := file.read(65536):
                    out.write(text)
            out.flush()
            time.sleep(FOLLOW_SECONDS)  # a file has no event that every file system gives
    except KeyboardInterrupt:
        return
    finally:
        for file in files:
            file.close()
