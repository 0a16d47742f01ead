"""How long the switches of a share group took, as the buckets of a histogram. Pure."""

from __future__ import annotations

#: Seconds; a sleep and a wake take about one, a stop and a start minutes.
BOUNDS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


class SwitchTimes:
    """Counts them."""

    bounds = BOUNDS

    def __init__(self) -> None:
        self.count = 0
        self.sum_seconds = 0.0
        self._below = [0] * len(BOUNDS)

    def add(self, seconds: float) -> None:
        """Count a switch."""
        self.count += 1
        self.sum_seconds += seconds
        for number, bound in enumerate(BOUNDS):
            self._below[number] += seconds <= bound

    @property
    def counts(self) -> tuple[int, ...]:
        """Switches at or below each bound."""
        return tuple(self._below)
