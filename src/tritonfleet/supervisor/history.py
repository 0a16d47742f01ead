"""The last fifteen minutes of every model in numbers, for the console's charts: a ring of samples. Pure.

Rates are made from the engines' own counters over the time between two samples, so nothing between them is missed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tritonfleet.supervisor.load import Load

#: Time between two samples: fine enough to see a burst, coarse enough that a page load stays small.
SAMPLE_SECONDS = 5.0
KEPT_SECONDS = 900.0

#: The columns of every model's history, in the order of ``Point``.
COLUMNS = ("running", "waiting", "tokens_per_second", "ttft_seconds")


@dataclass(frozen=True)
class Point:
    """One model at one time, all replicas together; None where nothing is known."""

    running: float | None = None
    """Requests being decoded."""
    waiting: float | None = None
    """Requests queued inside the engines."""
    tokens_per_second: float | None = None
    """Generated tokens per second since the sample before."""
    ttft_seconds: float | None = None
    """Mean time to first token of the requests that got theirs since the sample before."""


class History:
    """Samples of the last ``KEPT_SECONDS``."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, dict[str, Point]]] = deque()
        self._before: dict[tuple[str, int], Load] = {}
        self._sampled: float | None = None

    def look(self, now: float, loads: Mapping[str, Sequence[Load]]) -> bool:
        """Take a sample at *now*, in seconds since 1970, if it is time for one; say whether it was.

        *loads* holds each model's engines by replica.
        """
        before = self._sampled
        if before is not None and 0 <= now - before < SAMPLE_SECONDS:
            return False
        elapsed = now - before if before is not None and now > before else None
        points = {
            model: _point([(self._before.get((model, number)), load) for number, load in enumerate(replicas)], elapsed)
            for model, replicas in loads.items()
        }
        self._before = {(model, n): load for model, replicas in loads.items() for n, load in enumerate(replicas)}
        self._sampled = now
        if before is not None and now < before:
            self._samples.clear()  # the clock was set back; two lines in one chart would mean nothing
        self._samples.append((now, points))
        while self._samples[0][0] < now - KEPT_SECONDS:
            self._samples.popleft()
        return True

    def after(self, time: float) -> dict[str, Any]:
        """Return what is newer than *time* as columns: ``times`` and, by model, one list for each of ``COLUMNS``."""
        samples = [sample for sample in self._samples if sample[0] > time]
        models = sorted({model for _, points in samples for model in points})
        nothing = Point()
        return {
            "times": [round(at, 3) for at, _ in samples],
            "models": {
                model: {
                    column: [_short(getattr(points.get(model, nothing), column)) for _, points in samples]
                    for column in COLUMNS
                }
                for model in models
            },
        }


def _point(replicas: Sequence[tuple[Load | None, Load]], elapsed: float | None) -> Point:
    now = [load for _, load in replicas]
    both = [(before or Load(), load) for before, load in replicas]
    tokens = firsts = seconds = None
    if elapsed is not None:
        tokens = _sum(_growth(before.generated_tokens, load.generated_tokens) for before, load in both)
        firsts = _sum(_growth(before.first_tokens, load.first_tokens) for before, load in both)
        seconds = _sum(_growth(before.ttft_sum_seconds, load.ttft_sum_seconds) for before, load in both)
    return Point(
        running=_sum(load.running for load in now),
        waiting=_sum(load.waiting for load in now),
        tokens_per_second=None if tokens is None or elapsed is None else tokens / elapsed,
        ttft_seconds=None if not firsts or seconds is None else seconds / firsts,
    )


def _growth(before: float | None, now: float | None) -> float | None:
    """Return how much a counter grew; one that is smaller than before began anew with its engine."""
    if before is None or now is None:
        return None
    return now - before if now >= before else now


def _sum(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
