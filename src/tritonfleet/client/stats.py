"""Percentiles, and numbers as text that never rounds a measurement to zero. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the *percent*-th percentile of *values*, linear between neighbours (numpy's default).

    Raises ValueError for no values or a percentage outside 0..100.
    """
    if not values:
        raise ValueError("a percentile needs at least one value")
    if not 0 <= percent <= 100:
        raise ValueError(f"percentile {percent} is not between 0 and 100")
    ordered = sorted(values)
    position = (len(ordered) - 1) * percent / 100
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    low, high = ordered[below], ordered[above]
    # Written this way the result lies between its neighbours, also where high - low loses digits.
    return min(max(low + (high - low) * (position - below), low), high)


def significant(value: float, digits: int = 3) -> str:
    """Return *value* with at least *digits* significant digits, without an exponent: 0.01234 -> 0.0123."""
    if value == 0 or not math.isfinite(value):
        return f"{value:.0f}"
    decimals = digits - 1 - math.floor(math.log10(abs(value)))
    return f"{value:.{max(decimals, 0)}f}"


def seconds_text(seconds: float) -> str:
    """Return a duration as seconds, to the millisecond and finer where it is shorter than that."""
    return f"{seconds:.3f}" if seconds >= 1 else significant(seconds)


def duration_text(seconds: float) -> str:
    """Return a duration with the unit that suits it: ``850 µs``, ``23.4 ms``, ``1.23 s``."""
    if seconds < 1e-3:
        return f"{significant(seconds * 1e6)} µs"
    if seconds < 1:
        return f"{significant(seconds * 1e3)} ms"
    return f"{significant(seconds)} s"
