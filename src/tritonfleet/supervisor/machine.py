"""What this process may use of the machine."""

from __future__ import annotations

import os


def cores() -> tuple[int, ...]:
    """Return the cores that this process may use."""
    return tuple(sorted(os.sched_getaffinity(0)))
