"""What a replayed trace comes to: served and refused, times to first token, who had the device. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from tritonfleet.simulate.trace import models_of
from tritonfleet.simulate.world import Outcome, Replay


@dataclass(frozen=True)
class Times:
    """Requests of one model, or of all."""

    served: int
    refused: int
    ttft_p50: float | None
    """Seconds; None where nothing was served."""
    ttft_p95: float | None


@dataclass(frozen=True)
class Figures:
    """One scene's outcome."""

    name: str
    all: Times
    by_model: dict[str, Times]
    switches: int
    switch_p50: float | None
    """Seconds from the order to sleep until the newcomer answers."""
    awake: dict[str, float]
    """Part of the time that each member of a share group was awake."""
    seconds: float
    """Until the last answer."""
    replay: Replay


def figures(name: str, found: Replay) -> Figures:
    """Return what *found* comes to."""
    models = models_of(outcome.request for outcome in found.outcomes)
    awake: dict[str, float] = {}
    for span in found.spans:
        if found.end:
            share = (span.end - span.start) / found.end if span.phase == "awake" else 0.0
            awake[span.model] = awake.get(span.model, 0.0) + share
    return Figures(
        name,
        _times(found.outcomes),
        {model: _times([each for each in found.outcomes if each.request.model == model]) for model in models},
        len(found.switch_seconds),
        statistics.median(found.switch_seconds) if found.switch_seconds else None,
        awake,
        found.end,
        found,
    )


def quantile(values: Sequence[float], part: float) -> float | None:
    """Return the value below which *part* of *values* lie, linearly between neighbours; None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    place = part * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def _times(outcomes: Sequence[Outcome]) -> Times:
    waits = [outcome.ttft_seconds for outcome in outcomes if outcome.ttft_seconds is not None and not outcome.refused]
    return Times(len(waits), len(outcomes) - len(waits), quantile(waits, 0.5), quantile(waits, 0.95))
