"""The model of an engine: exact for what can be worked out by hand, and it loses nothing."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tritonfleet.simulate import Request, Speed
from tritonfleet.simulate.engine import Engine, Flight

SPEED = Speed(((1, 0.01),), prefill_tokens_per_second=1000, overhead_seconds=0.005)


def run(speed: Speed, requests: list[Request], slowdown: int = 1) -> list[Flight]:
    """Let an engine answer *requests*, which are in the order of their arrival; return all flights."""
    engine = Engine("m", speed, slowdown=slowdown)
    flights = [Flight(number, request) for number, request in enumerate(requests)]
    waiting = list(flights)
    ended: list[Flight] = []
    while waiting or engine.busy:
        arrival = waiting[0].request.arrival_seconds if waiting else math.inf
        if arrival < engine.next_event:
            engine.add(waiting.pop(0), arrival)
        else:
            ended += engine.finish(engine.next_event)
    assert sorted(flight.number for flight in ended) == list(range(len(requests)))
    assert engine.load == 0
    return flights


def test_one_request_by_hand() -> None:
    """A step with the prompt, then a step for each further token."""
    (flight,) = run(SPEED, [Request(1.0, "m", 100, 11)])
    assert flight.first_token == pytest.approx(1.0 + 0.01 + 0.1 + 0.005)
    assert flight.ended == pytest.approx(1.0 + 0.01 + 0.1 + 10 * 0.01 + 0.005)


def test_a_newcomer_waits_for_the_step_that_is_under_way() -> None:
    """Its prompt goes into the next one, which is longer for both."""
    first, second = run(SPEED, [Request(0.0, "m", 100, 100), Request(0.235, "m", 50, 2)])
    begins = 0.11 + 13 * 0.01  # the steps of the first one end at 0.11, 0.12 ... and 0.235 lies in one
    assert second.first_token == pytest.approx(begins + 0.01 + 0.05 + 0.005)
    assert second.ended == pytest.approx(begins + 0.01 + 0.05 + 0.01 + 0.005)
    assert first.ended == pytest.approx(0.11 + 99 * 0.01 + 0.05 + 0.005)


def test_prompts_of_one_moment_share_a_step() -> None:
    """Both first tokens come together."""
    requests = [Request(0.0, "m", 100, 1), Request(0.001, "m", 100, 1), Request(0.002, "m", 100, 1)]
    times = [flight.first_token for flight in run(SPEED, requests)]
    assert times[0] == pytest.approx(0.115)
    assert times[1] == times[2] == pytest.approx(0.11 + 0.01 + 0.2 + 0.005)


def test_a_long_prompt_is_cut_into_chunks() -> None:
    """One step each; others decode meanwhile."""
    speed = Speed(((1, 0.01),), 1000, batch_tokens=100)
    (flight,) = run(speed, [Request(0.0, "m", 250, 1)])
    assert flight.first_token == pytest.approx(3 * 0.01 + 0.25)


def test_at_most_max_running_at_once() -> None:
    """The third begins when the first two have ended."""
    speed = Speed(((1, 0.01),), 1e9, max_running=2)
    flights = run(speed, [Request(0.0, "m", 1, 10)] * 3)
    assert flights[2].first_token == pytest.approx((flights[0].ended or 0) + 0.01, abs=0.011)


def test_the_cache_is_not_given_out_twice() -> None:
    """A sequence that does not fit waits, and one that never fits runs alone."""
    speed = Speed(((1, 0.01),), 1e9, kv_tokens=100)
    big, small = run(speed, [Request(0.0, "m", 200, 10), Request(0.0, "m", 10, 10)])
    assert small.first_token is not None
    assert big.ended is not None
    assert small.first_token >= big.ended


def test_engines_on_one_device_slow_each_other_down() -> None:
    """Each gets its part."""
    (alone,) = run(SPEED, [Request(0.0, "m", 100, 11)])
    (half,) = run(SPEED, [Request(0.0, "m", 100, 11)], slowdown=2)
    assert alone.ended is not None
    assert half.ended == pytest.approx(2 * (alone.ended - 0.005) + 0.005)


def test_step_times_lie_between_those_that_were_measured() -> None:
    """Linear between and beyond the points."""
    speed = Speed(((1, 0.010), (11, 0.020), (21, 0.040)), 1000)
    assert [speed.tpot(count) for count in (1, 6, 11, 16, 31)] == pytest.approx([0.010, 0.015, 0.020, 0.030, 0.060])
    assert Speed(((8, 0.010), (16, 0.030)), 1000).tpot(1) == pytest.approx(0.010)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 2), st.integers(1, 300), st.integers(1, 50)), min_size=1, max_size=30),
    st.integers(1, 8),
    st.integers(50, 2000),
)
def test_every_request_is_answered_in_order_of_nature(
    rows: list[tuple[float, int, int]], limit: int, tokens: int
) -> None:
    """First token after the arrival and its own work, end after the first token; with whatever limits."""
    speed = Speed(((1, 0.01), (8, 0.02)), 5000, max_running=limit, kv_tokens=tokens, batch_tokens=128)
    for flight in run(speed, [Request(at, "m", prompt, out) for at, prompt, out in sorted(rows)]):
        request = flight.request
        assert flight.first_token is not None
        assert flight.ended is not None
        least = request.prompt_tokens / 5000 + 0.01
        assert flight.first_token >= request.arrival_seconds + least - 1e-9
        assert flight.ended >= flight.first_token + (request.output_tokens - 1) * 0.01 - 1e-9


def test_a_dropped_request_frees_its_place() -> None:
    """Running or waiting, and twice does no harm."""
    engine = Engine("m", Speed(((1, 0.01),), 1e9, max_running=1))
    first, second = Flight(0, Request(0.0, "m", 1, 1000)), Flight(1, Request(0.0, "m", 1, 1))
    engine.add(first, 0.0)
    engine.add(second, 0.0)
    engine.finish(engine.next_event)
    engine.drop(first, 0.05)
    engine.drop(first, 0.05)
    ended: list[Flight] = []
    while engine.busy:
        ended += engine.finish(engine.next_event)
    assert ended == [second]
    assert (second.ended or 9) < 0.1
