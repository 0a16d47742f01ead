"""Loads and times as a person writes them, and the search for the highest load that holds a goal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tritonfleet.bench.crew import Closed, Open, split
from tritonfleet.bench.levels import (
    FEWEST_REQUESTS,
    OPEN_SECONDS,
    SEARCH_PRECISION,
    Extent,
    Level,
    Search,
    load_of,
    parse_duration,
    parse_levels,
)
from tritonfleet.errors import UsageError


def test_concurrency_and_rate_become_levels() -> None:
    assert parse_levels("1, 8,32", None) == [Level(streams=1), Level(streams=8), Level(streams=32)]
    assert parse_levels(None, "0.5,2") == [Level(rate=0.5), Level(rate=2.0)]
    assert parse_levels(None, None) == [Level(streams=1)]


@pytest.mark.parametrize(("concurrency", "rate"), [("0", None), ("1,", None), ("x", None), (None, "-1"), (None, "inf")])
def test_a_load_that_cannot_be_meant_is_refused_with_an_example(concurrency: str | None, rate: str | None) -> None:
    with pytest.raises(UsageError, match="write for example"):
        parse_levels(concurrency, rate)


def test_closed_and_open_loop_exclude_each_other() -> None:
    with pytest.raises(UsageError, match="drop one of them"):
        parse_levels("1", "1")


@pytest.mark.parametrize(("text", "seconds"), [("500ms", 0.5), ("30s", 30), ("2m", 120), ("1.5", 1.5), ("1h", 3600)])
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text, "--duration") == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "0", "-1s", "5 days", "nan"])
def test_a_wrong_duration_names_the_option(text: str) -> None:
    with pytest.raises(UsageError, match="--ttft-goal"):
        parse_duration(text, "--ttft-goal")


def test_a_closed_load_without_extent_has_a_few_requests_of_each_stream() -> None:
    assert load_of(Level(streams=1), Extent()) == Closed(1, FEWEST_REQUESTS)
    assert load_of(Level(streams=100), Extent()) == Closed(100, 400)
    assert load_of(Level(streams=3), Extent(seconds=5)) == Closed(3, None, 5)


@given(st.floats(0.1, 50), st.floats(0.5, 20))
def test_an_open_load_fills_its_time_and_no_more(rate: float, seconds: float) -> None:
    load = load_of(Level(rate=rate), Extent(seconds=seconds))
    assert isinstance(load, Open)
    assert load.arrivals[0] == 0
    assert all(0 <= at < seconds for at in load.arrivals)
    assert len(load.arrivals) <= rate * seconds + 6 * (rate * seconds) ** 0.5 + 10


def test_an_open_load_without_extent_lasts_half_a_minute() -> None:
    load = load_of(Level(rate=20), Extent())
    assert isinstance(load, Open)
    assert OPEN_SECONDS - 2 < load.arrivals[-1] < OPEN_SECONDS
    assert load_of(Level(rate=20), Extent(requests=7)) == Open(load.arrivals[:7])


@given(st.integers(1, 600), st.integers(1, 5000), st.integers(1, 16))
def test_a_split_load_is_the_whole_load(streams: int, requests: int, processes: int) -> None:
    shares = [share for share in split(Closed(streams, requests), processes) if isinstance(share, Closed)]
    assert sum(share.streams for share in shares) == min(streams, requests)
    assert sum(share.requests or 0 for share in shares) == requests
    assert all(share.requests is not None and share.requests >= share.streams >= 1 for share in shares)
    assert len(shares) <= processes


@given(st.lists(st.floats(0, 100)), st.integers(1, 16))
def test_a_split_open_load_keeps_every_arrival(arrivals: list[float], processes: int) -> None:
    shares = [share for share in split(Open(tuple(sorted(arrivals))), processes) if isinstance(share, Open)]
    assert sorted(at for share in shares for at in share.arrivals) == sorted(arrivals)
    assert all(list(share.arrivals) == sorted(share.arrivals) for share in shares)


@given(st.integers(0, 3000), st.integers(1, 2000))
def test_the_search_finds_where_a_goal_ends(limit: int, most: int) -> None:
    search, asked = Search(most), 0
    while (streams := search.next()) is not None:
        assert 1 <= streams <= most
        search.saw(streams, holds=streams <= limit)
        asked += 1
    assert search.held <= limit
    if search.missed is None:
        assert search.held == most
    else:
        assert search.missed > limit
        assert search.missed - search.held <= max(1, SEARCH_PRECISION * search.held)
    assert asked <= 24
