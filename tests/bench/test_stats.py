"""Summaries and intervals."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tritonfleet.bench.stats import Sample, bootstrap_median, summarize

samples = st.builds(
    lambda ttft, rest, tokens: Sample(ttft, ttft + rest, tokens),
    st.floats(1e-4, 10),
    st.floats(0, 100),
    st.integers(1, 1000),
)


@given(st.lists(samples, min_size=1), st.floats(0.01, 1000))
def test_summary(found: list[Sample], seconds: float) -> None:
    """Tokens are counted over the wall time, percentiles grow, and lie inside the samples."""
    summary = summarize(found, seconds)
    assert summary.requests == len(found)
    assert summary.tokens_per_second * seconds == pytest.approx(sum(sample.output_tokens for sample in found))
    assert summary.ttft_p50 <= summary.ttft_p95 <= summary.ttft_p99 <= max(sample.ttft_seconds for sample in found)
    assert summary.latency_p50 <= summary.latency_p95
    assert (summary.tpot_p50 is None) == all(sample.output_tokens < 2 for sample in found)


def test_tpot_leaves_the_first_token_out() -> None:
    """TPOT is the time between tokens."""
    assert Sample(0.5, 1.5, 11).tpot_seconds == pytest.approx(0.1)
    assert Sample(0.5, 0.5, 1).tpot_seconds is None


@settings(max_examples=30)
@given(st.lists(st.floats(0.5, 2), min_size=1, max_size=20))
def test_interval_holds_the_median(values: list[float]) -> None:
    """The interval lies around its value, inside what was measured, and is the same each time."""
    found = bootstrap_median(values, draws=200)
    assert min(values) <= found.low <= found.value <= found.high <= max(values)
    assert found == bootstrap_median(values, draws=200)


def test_more_rounds_narrow_the_interval() -> None:
    """An interval from many rounds is narrower than one from few."""
    few = bootstrap_median([0.9, 1.0, 1.1, 0.95, 1.05])
    many = bootstrap_median([0.9, 1.0, 1.1, 0.95, 1.05] * 20)
    assert many.high - many.low < few.high - few.low


def test_nothing_measured() -> None:
    """No samples have no summary."""
    with pytest.raises(ValueError, match="at least one value"):
        summarize([], 1.0)
    with pytest.raises(ValueError, match="at least one value"):
        bootstrap_median([])
