"""Joining tokens at the source, only where cores are short."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tritonfleet.bridge.completion import completion_body
from tritonfleet.bridge.generation import Generation
from tritonfleet.bridge.pace import HOLD_SECONDS, STREAMS_PER_CORE, Pace, takes_interval
from tritonfleet.wire import Route


@given(st.integers(1, 128), st.floats(1e-4, 1.0), st.integers(0, 1000))
def test_no_token_waits_longer_than_the_hold(cores: int, seconds: float, streams: int) -> None:
    """And few streams, or slow ones, get every token as it comes."""
    pace = Pace(cores)
    pace.saw(seconds)
    interval = pace.interval(streams)
    assert interval >= 1
    assert interval == 1 or interval * seconds <= HOLD_SECONDS * (1 + 1e-9)
    assert pace.hold_seconds(streams) <= HOLD_SECONDS
    if streams <= STREAMS_PER_CORE * cores:
        assert (interval, pace.hold_seconds(streams)) == (1, 0.0)


def test_nothing_is_joined_before_anything_was_seen() -> None:
    """Without a measured pace nobody knows how long tokens would wait."""
    assert Pace(1).interval(100) == 1


def test_the_pace_follows_slowly() -> None:
    """One odd gap does not change it."""
    pace = Pace(1)
    for _ in range(50):
        pace.saw(0.006)
    assert pace.interval(100) == 10
    pace.saw(0.02)
    assert pace.interval(100) == 8
    for _ in range(100):
        pace.saw(0.02)
    assert pace.interval(100) == 3
    assert pace.interval(5) == 2


@pytest.mark.parametrize(
    ("engine", "version", "expected"),
    [("vllm", "0.32.0", True), ("vllm", "1.0.0rc1", True), ("vllm", "0.31.9", False), ("vllm", "", False),
     ("sglang", "0.40", False), ("fake", "fake", False)],
)  # fmt: skip
def test_engines_that_can_join(engine: str, version: str, expected: bool) -> None:
    """vLLM from 0.32 on."""
    assert takes_interval(engine, version) is expected


def test_the_clients_own_interval_wins() -> None:
    """It is a sampling parameter of vLLM."""
    route = Route("m", "vllm", "m", ())
    request = Generation("x", stream=True, sampling={"stream_interval": 2})
    body = completion_body(request, route, stream=True, count_tokens=False, stream_interval=7)
    assert body["stream_interval"] == 2
    assert "stream_interval" not in completion_body(Generation("x"), route, stream=True, count_tokens=False)
    assert "stream_interval" not in completion_body(
        Generation("x"), route, stream=False, count_tokens=False, stream_interval=7
    )
