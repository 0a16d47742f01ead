"""Percentiles and numbers as text."""

from __future__ import annotations

import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tritonfleet.client.stats import duration_text, percentile, seconds_text, significant

values = st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=50)


@given(values, st.floats(0, 100))
def test_percentile_is_numpys(sample: list[float], percent: float) -> None:
    """The definition is numpy's default, for any sample and percentage."""
    scale = max(map(abs, sample))
    assert percentile(sample, percent) == pytest.approx(float(np.percentile(sample, percent)), abs=1e-9 * scale)


@given(values, st.floats(0, 100), st.floats(0, 100))
def test_percentile_grows_and_stays_inside(sample: list[float], first: float, second: float) -> None:
    """A higher percentage never gives a lower value, and none lies outside the sample."""
    low, high = sorted((first, second))
    assert min(sample) <= percentile(sample, low) <= percentile(sample, high) <= max(sample)


@given(values)
def test_median(sample: list[float]) -> None:
    """The 50th percentile is the median."""
    assert percentile(sample, 50) == pytest.approx(statistics.median(sample), rel=1e-12, abs=1e-6)


def test_percentile_of_nothing() -> None:
    """No values have no percentile, and there is no 101st."""
    with pytest.raises(ValueError, match="at least one value"):
        percentile([], 50)
    with pytest.raises(ValueError, match="not between 0 and 100"):
        percentile([1.0], 101)


@given(st.floats(1e-9, 1e9))
def test_no_measurement_becomes_zero(value: float) -> None:
    """Text keeps a value to half a per cent, however small it is."""
    for text in (significant(value), seconds_text(value)):
        assert "e" not in text
        assert float(text) == pytest.approx(value, rel=0.005)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (1.8e-4, "180 µs"),
        (0.00234, "2.34 ms"),
        (0.0234, "23.4 ms"),
        (0.834, "834 ms"),
        (1.234, "1.23 s"),
        (75.04, "75.0 s"),
    ],
)
def test_units(seconds: float, text: str) -> None:
    """A duration has the unit that suits it."""
    assert duration_text(seconds) == text
