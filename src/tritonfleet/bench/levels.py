"""What a person asks `tritonfleet bench` for: loads, times, and the search for the highest load that is fast. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from tritonfleet.bench.crew import Closed, Open
from tritonfleet.bench.load import arrival_times
from tritonfleet.errors import UsageError

#: Requests of each stream where the person names neither a number nor a duration.
REQUESTS_PER_STREAM = 4
#: Fewest requests of a load: percentiles of fewer say nothing.
FEWEST_REQUESTS = 16
#: Duration of an open load where the person names none (seconds).
OPEN_SECONDS = 30.0
#: The search ends when the steps between a load that holds and one that does not are smaller than this share.
SEARCH_PRECISION = 0.1
_UNITS = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Level:
    """One load of a run: streams of a closed loop, or requests per second of an open one."""

    streams: int | None = None
    rate: float | None = None

    def __str__(self) -> str:
        if self.streams is None:
            return f"{self.rate:g} requests/s"
        return "1 stream" if self.streams == 1 else f"{self.streams} streams"


@dataclass(frozen=True)
class Extent:
    """How long a load lasts; with neither, a few requests of each stream."""

    requests: int | None = None
    seconds: float | None = None


def load_of(level: Level, extent: Extent, *, ramp_seconds: float = 0.0, seed: int = 0) -> Closed | Open:
    """Return what the load generators do for *level*."""
    if level.streams is not None:
        requests = extent.requests
        if requests is None and extent.seconds is None:
            requests = max(FEWEST_REQUESTS, REQUESTS_PER_STREAM * level.streams)
        return Closed(level.streams, requests, extent.seconds, ramp_seconds)
    assert level.rate is not None
    seconds = extent.seconds if extent.seconds is not None or extent.requests is not None else OPEN_SECONDS
    if extent.requests is not None:
        return Open(tuple(arrival_times(level.rate, extent.requests, seed)))
    assert seconds is not None
    # So many that the time is full but for one chance in millions; what comes later is cut off.
    enough = int(level.rate * seconds + 6 * (level.rate * seconds) ** 0.5) + 10
    return Open(tuple(at for at in arrival_times(level.rate, enough, seed) if at < seconds))


def parse_levels(concurrency: str | None, rate: str | None) -> list[Level]:
    """Return the loads written as ``1,8,32`` (streams) or ``0.5,2`` (requests/s); raise UsageError otherwise."""
    if concurrency is not None and rate is not None:
        raise UsageError("--concurrency is a closed loop and --rate an open one; drop one of them")
    if rate is not None:
        return [Level(rate=_number(text, "--rate")) for text in _items(rate)]
    return [Level(streams=_count(text)) for text in _items(concurrency or "1")]


def parse_duration(text: str, option: str) -> float:
    """Return the seconds in ``500ms``, ``30s``, ``2m`` or ``30``; raise UsageError naming *option* otherwise."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?|\.\d+)\s*(ms|s|m|min|h|)\s*", text)
    seconds = float(match[1]) * _UNITS[match[2]] if match else 0.0
    if not 0 < seconds < float("inf"):
        raise UsageError(f"{option} {text!r} is no time above zero; write for example 500ms, 30s or 2m")
    return seconds


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",")]


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"--concurrency {text!r} is no whole number above zero; write for example 1,8,32")
    return int(text)


def _number(text: str, option: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise UsageError(f"{option} {text!r} is no number above zero; write for example 5 or 0.5,1,2")
    return value


@dataclass
class Search:
    """Finds the highest number of streams that still holds a goal: doubling until one does not, then halving the gap.

    The result is right where more streams are never faster.
    """

    most: int
    """Streams that are never exceeded."""
    start: int = 1
    _held: int = field(default=0, init=False)
    _missed: int | None = field(default=None, init=False)

    @property
    def held(self) -> int:
        """Highest number that held; 0 if none did."""
        return self._held

    @property
    def missed(self) -> int | None:
        """Lowest number that did not hold; None if all did."""
        return self._missed

    def next(self) -> int | None:
        """Return the number of streams to try next; None when the answer is known."""
        if self._missed is None:
            if self._held >= self.most:
                return None
            return min(self.most, self._held * 2 if self._held else min(self.start, self.most))
        gap = self._missed - self._held
        if gap <= 1 or (self._held and gap <= SEARCH_PRECISION * self._held):
            return None
        return self._held + gap // 2

    def saw(self, streams: int, *, holds: bool) -> None:
        """Note what came of *streams*."""
        if holds:
            self._held = max(self._held, streams)
        else:
            self._missed = streams if self._missed is None else min(self._missed, streams)
