"""What came of one load: numbers, errors by kind, and all of it as table, text and JSON. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from tritonfleet.bench.crew import Failure
from tritonfleet.bench.levels import Level
from tritonfleet.bench.stats import Sample, Summary, summarize
from tritonfleet.client.stats import percentile, significant

#: Short enough for a terminal of 80 columns.
HEADINGS = (
    "load",
    "requests",
    "errors",
    "req/s",
    "tokens/s",
    "TTFT ms\np50/p95/p99",
    "TPOT ms\np50",
    "ITL ms\np50/p99",
)
MISSING = "-"


@dataclass(frozen=True)
class Outcome:
    """One load and what came of it."""

    level: Level
    samples: tuple[Sample, ...]
    failures: tuple[Failure, ...]
    seconds: float
    """Wall time from the first request to the last answer."""
    complete: bool = True
    """False where the person stopped it before its end."""

    @property
    def summary(self) -> Summary | None:
        """Numbers over the answered requests; None if there are none."""
        return summarize(self.samples, self.seconds) if self.samples and self.seconds > 0 else None

    @property
    def requests_per_second(self) -> float:
        """Answered requests over the wall time."""
        return len(self.samples) / self.seconds if self.seconds > 0 else 0.0

    def ttft(self, percent: float) -> float | None:
        """Return a percentile of the TTFT in seconds; None without an answered request."""
        return percentile([sample.ttft_seconds for sample in self.samples], percent) if self.samples else None

    def itl(self, percent: float) -> float | None:
        """Return a percentile of the times between responses in seconds (ITL); None where there are no two."""
        gaps = [gap for sample in self.samples for gap in sample.gaps_seconds]
        return percentile(gaps, percent) if gaps else None

    def holds(self, ttft_seconds: float, percent: float) -> bool:
        """Whether every request was answered and the TTFT's percentile is within the goal."""
        found = self.ttft(percent)
        return found is not None and not self.failures and found <= ttft_seconds


def cells(outcome: Outcome) -> tuple[str, ...]:
    """Return the texts of a row, in the order of HEADINGS."""
    summary = outcome.summary
    load = f"{outcome.level}{'' if outcome.complete else ' (stopped)'}"
    counts = (load, str(len(outcome.samples) + len(outcome.failures)), str(len(outcome.failures)))
    if summary is None:
        return (*counts, *[MISSING] * (len(HEADINGS) - len(counts)))
    return (
        *counts,
        significant(outcome.requests_per_second),
        significant(summary.tokens_per_second),
        _milliseconds(summary.ttft_p50, summary.ttft_p95, summary.ttft_p99),
        _milliseconds(summary.tpot_p50),
        _milliseconds(outcome.itl(50), outcome.itl(99)),
    )


def _milliseconds(*seconds: float | None) -> str:
    return "/".join(MISSING if value is None else significant(value * 1e3) for value in seconds)


def table(outcomes: Sequence[Outcome]) -> Table:
    """Return the loads for a terminal, one a row."""
    found = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for number, heading in enumerate(HEADINGS):
        found.add_column(heading, justify="right" if number else "left", no_wrap=True)
    for outcome in outcomes:
        found.add_row(*cells(outcome), style="red" if outcome.failures else "")
    return found


def failure_lines(outcomes: Sequence[Outcome]) -> list[str]:
    """Return a line for each kind of error at each load, with one of its messages."""
    lines = []
    for outcome in outcomes:
        counts = Counter(failure.kind for failure in outcome.failures)
        for kind, count in counts.most_common():
            message = next(failure.message for failure in outcome.failures if failure.kind == kind)
            lines.append(f"{outcome.level}: {count} x {kind}, for example: {message}")
    return lines


def to_json(outcomes: Sequence[Outcome], about: Mapping[str, Any], found: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return everything that was measured, the samples included; times in seconds."""
    return {
        "about": dict(about),
        "levels": [_level_json(outcome) for outcome in outcomes],
        **({"found": dict(found)} if found is not None else {}),
    }


def _level_json(outcome: Outcome) -> dict[str, Any]:
    summary = outcome.summary
    return {
        "streams": outcome.level.streams,
        "rate": outcome.level.rate,
        "complete": outcome.complete,
        "requests": len(outcome.samples) + len(outcome.failures),
        "seconds": outcome.seconds,
        "requests_per_second": outcome.requests_per_second,
        "summary": asdict(summary) if summary is not None else None,
        "itl_p50": outcome.itl(50),
        "itl_p95": outcome.itl(95),
        "itl_p99": outcome.itl(99),
        "errors": dict(Counter(failure.kind for failure in outcome.failures)),
        "samples": [asdict(sample) for sample in outcome.samples],
        "failures": [asdict(failure) for failure in outcome.failures],
    }
