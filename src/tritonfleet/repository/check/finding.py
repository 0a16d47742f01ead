"""What a check found, and where in a file it stands."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or odd, in a repository."""

    severity: Literal["error", "warning"]
    """An error keeps Triton from loading the model, or makes it answer wrongly."""
    path: PurePosixPath
    """File or folder, relative to the repository."""
    message: str
    """What is wrong, with the value."""
    fix: str
    """What to do."""
    line: int | None = None
    """Line in the file, from 1, where there is one."""

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}" if self.line else str(self.path)
        return f"{place}: {self.severity}: {self.message}; {self.fix}"


def line_of(text: str, pattern: str) -> int | None:
    """Return the line of the first match of the regular expression *pattern*."""
    found = re.search(pattern, text)
    return text.count("\n", 0, found.start()) + 1 if found else None


def quoted(value: str) -> str:
    """Return a pattern for *value* as protobuf text or JSON has it, in quotes."""
    return rf"""["']{re.escape(value)}["']"""
