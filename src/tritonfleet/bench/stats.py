"""What many samples say together. Pure."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from tritonfleet.client.stats import percentile


@dataclass(frozen=True, slots=True)
class Sample:
    """One streamed request; times in seconds."""

    ttft_seconds: float
    latency_seconds: float
    output_tokens: int
    gaps_seconds: tuple[float, ...] = ()
    """Times between two responses with text (ITL); empty where they were not kept."""

    @property
    def tpot_seconds(self) -> float | None:
        """Time per output token after the first; None for an answer of one token."""
        if self.output_tokens < 2:
            return None
        return (self.latency_seconds - self.ttft_seconds) / (self.output_tokens - 1)


@dataclass(frozen=True)
class Summary:
    """Samples of one door at one load; times in seconds."""

    requests: int
    output_tokens: int
    seconds: float
    """Wall time during which they were made."""
    tokens_per_second: float
    ttft_p50: float
    ttft_p95: float
    ttft_p99: float
    tpot_p50: float | None
    tpot_p95: float | None
    latency_p50: float
    latency_p95: float


@dataclass(frozen=True)
class Interval:
    """An estimate with the range in which it lies with a probability of 95 per cent."""

    value: float
    low: float
    high: float


def summarize(samples: Sequence[Sample], seconds: float) -> Summary:
    """Return the summary of *samples* made in *seconds* of wall time; raise ValueError for none."""
    tokens = sum(sample.output_tokens for sample in samples)
    ttft = [sample.ttft_seconds for sample in samples]
    latency = [sample.latency_seconds for sample in samples]
    tpot = [value for sample in samples if (value := sample.tpot_seconds) is not None]
    return Summary(
        requests=len(samples),
        output_tokens=tokens,
        seconds=seconds,
        tokens_per_second=tokens / seconds,
        ttft_p50=percentile(ttft, 50),
        ttft_p95=percentile(ttft, 95),
        ttft_p99=percentile(ttft, 99),
        tpot_p50=percentile(tpot, 50) if tpot else None,
        tpot_p95=percentile(tpot, 95) if tpot else None,
        latency_p50=percentile(latency, 50),
        latency_p95=percentile(latency, 95),
    )


def bootstrap_median(values: Sequence[float], *, draws: int = 2000, seed: int = 0) -> Interval:
    """Return the median of *values* with its 95 per cent interval by the percentile bootstrap.

    The values must be independent of each other: one for each round. Raises ValueError for none.
    """
    chance = random.Random(seed)  # noqa: S311 - statistics, not secrets
    medians = [percentile(chance.choices(values, k=len(values)), 50) for _ in range(draws)] if values else []
    value = percentile(values, 50)
    return Interval(value, percentile(medians, 2.5), percentile(medians, 97.5))
