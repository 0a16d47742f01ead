"""When a failed engine is started again, and when it is given up: pure decisions over past failures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tritonfleet.spec.models import Lifecycle


@dataclass(frozen=True)
class Restart:
    """Start it again after a wait."""

    wait_seconds: float
    attempt: int
    """Failures within the window, this one included."""


@dataclass(frozen=True)
class GiveUp:
    """Leave it failed until somebody asks for it again."""

    failures: int


def after_failure(failures: Sequence[float], lifecycle: Lifecycle) -> Restart | GiveUp:
    """Decide what follows the last of *failures* (monotonic times in seconds, oldest first, not empty).

    The wait doubles with every failure within the window, from ``backoff_seconds`` to ``backoff_max_seconds``.
    """
    now = failures[-1]
    recent = sum(1 for moment in failures if now - moment <= lifecycle.restart_window_seconds)
    if recent > lifecycle.max_restarts:
        return GiveUp(failures=recent)
    # 2**60 seconds is past any ceiling; the bound keeps the float from overflowing.
    wait = lifecycle.backoff_seconds * 2.0 ** min(recent - 1, 60)
    return Restart(wait_seconds=min(wait, lifecycle.backoff_max_seconds), attempt=recent)
