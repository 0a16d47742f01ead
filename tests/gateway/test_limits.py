"""Requests and tokens per minute."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tritonfleet.gateway.board import Board
from tritonfleet.gateway.keys import ANYBODY, Caller
from tritonfleet.gateway.limits import Limits, counted, wait_seconds
from tritonfleet.gateway.metrics import Metrics
from tritonfleet.gateway.problem import Problem
from tritonfleet.gateway.usage import Usage

COUNT = st.integers(0, 10**6)


@given(COUNT, COUNT, st.floats(0, 59.99), st.integers(0, 10**6))
def test_after_the_wait_there_is_room(before: int, now: int, elapsed: float, room: int) -> None:
    wait = wait_seconds(before, now, elapsed, room)
    assert wait >= 0
    later = elapsed + wait
    # In the next minute, what is now counts as the minute before.
    count = counted(before, now, later) if later < 60 else counted(now, 0, later - 60)
    assert count <= room + 1e-6 * max(1, before, now)
    if wait == 0:
        assert counted(before, now, elapsed) <= room


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000 * 60.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """The start of a minute."""
    return Clock()


@pytest.fixture
def limits(clock: Clock) -> Limits:
    """Limits by that clock."""
    return Limits(Board(None), Metrics(), clock)


def test_requests_per_minute(limits: Limits, clock: Clock) -> None:
    caller = Caller("k", requests_per_minute=3)
    for _ in range(3):
        limits.admit(caller)
    with pytest.raises(Problem, match="may use 3 requests per minute") as caught:
        limits.admit(caller)
    assert caught.value.status == 429
    clock.now += int(caught.value.headers["retry-after"])
    limits.admit(caller)


def test_tokens_per_minute_stop_the_request_after_the_last_token(limits: Limits, clock: Clock) -> None:
    caller = Caller("k", tokens_per_minute=100)
    limits.admit(caller)
    limits.charge(caller, Usage(60, 39))
    limits.admit(caller)
    limits.charge(caller, Usage(30, 30))
    with pytest.raises(Problem, match="100 tokens per minute"):
        limits.admit(caller)
    clock.now += 120
    limits.admit(caller)


def test_keys_do_not_share(limits: Limits) -> None:
    limits.admit(Caller("a", requests_per_minute=1))
    limits.admit(Caller("b", requests_per_minute=1))


def test_without_a_key_nothing_is_counted(limits: Limits) -> None:
    for _ in range(1000):
        limits.admit(ANYBODY)
