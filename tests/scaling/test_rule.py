"""How many replicas the load asks for."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.scaling.rules import make_rule
from tritonfleet.scaling import desired

loads = st.floats(0, 1e6)


@pytest.mark.parametrize(
    ("in_flight", "kv_cache", "replicas", "expected"),
    [
        (0, 0, 1, 1),  # never fewer than the floor
        (10, 0.1, 1, 1),
        (10.9, 0.1, 1, 1),  # within a tenth of the target
        (12, 0.1, 1, 2),
        (35, 0.1, 1, 4),
        (500, 0.1, 1, 8),  # never more than the most
        (5, 2.0, 1, 3),  # the cache asks for more than the requests do
        (5, 0.1, 6, 1),
    ],
)
def test_the_trigger_that_asks_for_most_decides(
    in_flight: float, kv_cache: float, replicas: int, expected: int
) -> None:
    """Ten requests and eight tenths of a cache for each replica, one to eight of them."""
    rule = make_rule(target=10, max_replicas=8)
    assert desired(rule, {"in-flight": in_flight, "kv-cache": kv_cache}, replicas) == expected


@pytest.mark.parametrize("missing", [None, math.nan, math.inf])
def test_a_missing_value_is_no_zero(missing: float | None) -> None:
    """It keeps replicas from going, but not from coming."""
    rule = make_rule(target=10, max_replicas=8)
    assert desired(rule, {"in-flight": missing, "kv-cache": missing}, 4) is None
    assert desired(rule, {}, 4) is None
    assert desired(rule, {"in-flight": missing, "kv-cache": 0.1}, 4) is None
    assert desired(rule, {"in-flight": 75, "kv-cache": missing}, 4) == 8
    assert desired(rule, {"in-flight": 75}, 4) == 8


@given(loads, loads, st.integers(0, 40))
def test_the_bounds_hold(in_flight: float, kv_cache: float, replicas: int) -> None:
    """Whatever is measured."""
    rule = make_rule(target=7, min_replicas=2, max_replicas=9)
    found = desired(rule, {"in-flight": in_flight, "kv-cache": kv_cache}, replicas)
    assert found is not None
    assert 2 <= found <= 9


@given(loads, loads, loads, st.integers(1, 40))
def test_more_load_never_asks_for_fewer(low: float, high: float, kv_cache: float, replicas: int) -> None:
    """Growing load, same or more replicas, but for what the tolerance leaves alone."""
    rule = make_rule(target=7, max_replicas=1000, tolerance=0.0)
    low, high = sorted((low, high))
    less = desired(rule, {"in-flight": low, "kv-cache": kv_cache}, replicas)
    more = desired(rule, {"in-flight": high, "kv-cache": kv_cache}, replicas)
    assert less is not None
    assert more is not None
    assert less <= more


@given(st.integers(1, 400), st.integers(1, 50))
def test_what_is_asked_for_carries_the_load(requests: int, target: int) -> None:
    """With that many replicas, none has more than the target and the tolerance."""
    rule = make_rule(target=target, max_replicas=1000)
    replicas = desired(rule, {"in-flight": requests, "kv-cache": 0.0}, 1)
    assert replicas is not None
    assert requests / replicas <= target * 1.1 + 1e-9
