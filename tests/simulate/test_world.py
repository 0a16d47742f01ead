"""Replays: every request ends once, nobody is served by a sleeping model, and the device is given out once."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tritonfleet.simulate import Replay, Request, Scene, Seat, Shape, Speed, generate, replay
from tritonfleet.simulate.figures import figures, quantile
from tritonfleet.supervisor.seats import Policy

SPEED = Speed(((1, 0.0044), (64, 0.008)), 30_000, overhead_seconds=0.008)


def seats(names: str, **options: object) -> tuple[Seat, ...]:
    """Return models that share one device."""
    plain = Seat("", SPEED, "gpu", group="g", sleep_seconds=0.31, wake_seconds=0.73)
    return tuple(replace(plain, model=name, **options) for name in names)  # type: ignore[arg-type]


def test_one_switch_by_hand() -> None:
    """Two models: the first is awake since the start, is idle, sleeps; the second wakes and answers."""
    found = replay([Request(1.0, "a", 30, 2), Request(5.0, "b", 30, 2)], Scene(seats("ab")))
    base = 0.0044 + 0.001 + 0.008
    first, second = (outcome.ttft_seconds for outcome in found.outcomes)
    assert first == pytest.approx(base)
    assert second == pytest.approx(0.31 + 0.73 + base)
    assert list(found.switch_seconds) == [pytest.approx(1.04)]
    phases = [(span.model, span.phase) for span in found.spans]
    assert phases == [("a", "awake"), ("a", "sleeping"), ("b", "waking"), ("b", "awake")]


@pytest.mark.parametrize(
    ("members", "capacity", "awake"),
    [
        (seats("abc"), 1, {"a"}),
        ((*seats("a"), *seats("b", priority=1), *seats("c")), 1, {"b"}),
        ((*seats("ab"), *seats("c", keep_warm=True)), 2, {"a", "c"}),
        (seats("abc"), 2, {"a", "b"}),
    ],
)
def test_who_is_awake_when_a_trace_begins(members: tuple[Seat, ...], capacity: int, awake: set[str]) -> None:
    """Those that ``up`` leaves awake: the warm ones, then the highest priority, then the first of the fleet."""
    found = replay([Request(1.0, "a", 30, 2)], Scene(members, {"g": capacity}))
    assert {span.model for span in found.spans if span.phase == "awake" and span.start == 0.0} == awake


def test_members_that_fit_together_are_awake_together() -> None:
    """No switch, after the first wakes."""
    trace = [Request(float(at), "ab"[at % 2], 30, 8) for at in range(10)]
    found = replay(trace, Scene(seats("ab", need_bytes=1), {"g": 2}))
    assert not found.switch_seconds
    assert [outcome.ttft_seconds for outcome in found.outcomes[2:]] == [pytest.approx(0.0134)] * 8


def test_a_request_that_waits_too_long_is_refused() -> None:
    """With the arbiter's own words; the first one runs on."""
    trace = [Request(0.0, "a", 30, 5000), Request(0.1, "b", 30, 2)]
    found = replay(trace, Scene(seats("ab"), wait_seconds={"g": 5.0}))
    assert found.outcomes[0].ended is not None
    assert "did not get the device within 5.0 s" in found.outcomes[1].refused


def test_a_drain_deadline_ends_a_long_request() -> None:
    """Served no more, and counted as refused; the next model gets the device."""
    trace = [Request(0.0, "a", 30, 50_000), Request(0.1, "b", 30, 2)]
    found = replay(trace, Scene(seats("ab"), policies={"g": Policy(drain_seconds=3.0)}))
    assert "ran on for 3 s" in found.outcomes[0].refused
    assert found.outcomes[1].ttft_seconds is not None
    assert figures("x", found).all.served == 1


def test_a_first_sleep_takes_longer() -> None:
    """The host's memory is pinned then; all but one have had theirs when the fleet is up."""
    trace = [Request(float(at), "ab"[at // 20 % 2], 30, 2) for at in range(0, 80, 10)]
    found = replay(trace, Scene(seats("ab", first_sleep_seconds=5.0)))
    assert [round(seconds, 2) for seconds in found.switch_seconds] == [5.73, 1.04, 1.04]


def test_models_with_engines_of_their_own_wait_for_nobody() -> None:
    """On another device, and with replicas."""
    alone = Seat("own", SPEED, "other", replicas=2)
    trace = [Request(0.0, "a", 30, 100), *[Request(0.5, "own", 30, 2)] * 2]
    found = replay(trace, Scene((*seats("ab"), alone)))
    assert [outcome.ttft_seconds for outcome in found.outcomes[1:]] == [pytest.approx(0.0134)] * 2


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[Request], Scene]:
    """Up to 40 requests for up to four models, warm ones among them, with any policy."""
    names = "abcd"[: draw(st.integers(1, 4))]
    group = [
        replace(
            seat,
            need_bytes=draw(st.integers(1, 3)),
            priority=draw(st.integers(0, 2)),
            sleep_seconds=draw(st.floats(0.0, 2.0)),
            wake_seconds=draw(st.floats(0.0, 2.0)),
            keep_warm=index == 0 and draw(st.booleans()),
        )
        for index, seat in enumerate(seats(names))
    ]
    warm = sum(seat.need_bytes for seat in group if seat.keep_warm)
    capacity = warm + max((seat.need_bytes for seat in group if not seat.keep_warm), default=0)
    capacity += draw(st.integers(0, 3))
    policy = Policy(
        min_residency_seconds=draw(st.floats(0.0, 3.0)),
        residency_per_switch=draw(st.floats(0.0, 4.0)),
        idle_seconds=draw(st.floats(0.0, 2.0)),
        max_wait_seconds=draw(st.floats(0.1, 20.0)),
        drain_seconds=draw(st.sampled_from([math.inf, 0.5, 5.0])),
    )
    rows = draw(
        st.lists(
            st.tuples(st.floats(0, 20), st.sampled_from(names), st.integers(1, 600), st.integers(1, 300)), max_size=40
        )
    )
    trace = sorted((Request(*row) for row in rows), key=lambda request: request.arrival_seconds)
    return trace, Scene(tuple(group), {"g": capacity}, {"g": policy}, {"g": draw(st.floats(0.5, 30.0))})


@settings(max_examples=200, deadline=None)
@given(cases())
def test_every_request_ends_once_and_nobody_is_served_asleep(case: tuple[list[Request], Scene]) -> None:
    """Whatever the trace, the policy and the memory."""
    trace, scene = case
    found = replay(trace, scene)
    assert [outcome.request for outcome in found.outcomes] == trace
    for outcome in found.outcomes:
        assert (outcome.ended is None) == bool(outcome.refused)
        if outcome.ended is not None and outcome.first_token is not None:
            begun, done = outcome.first_token - SPEED.overhead_seconds, outcome.ended - SPEED.overhead_seconds
            assert outcome.request.arrival_seconds <= begun <= done
            assert any(
                span.start <= begun and done <= span.end + 1e-6
                for span in found.spans
                if span.model == outcome.request.model and span.phase == "awake"
            )
    _check_memory(found, scene)


def _check_memory(found: Replay, scene: Scene) -> None:
    """At no time more is taken than the device has; a model has one phase at a time."""
    needs = {seat.model: seat.need_bytes for seat in scene.seats}
    for model in needs:
        mine = sorted((span for span in found.spans if span.model == model), key=lambda span: (span.start, span.end))
        assert all(before.end <= after.start for before, after in pairwise(mine))
    for span in found.spans:
        middle = (span.start + span.end) / 2
        if span.start < span.end:
            held = sum(needs[each.model] for each in found.spans if each.start <= middle < each.end)
            assert held <= scene.capacities["g"]


def test_ten_thousand_requests_take_less_than_five_seconds() -> None:
    """Of processor time, so that a busy machine does not count."""
    trace = generate(Shape(tuple("abcd"), seconds=2600, rate=4.0), seed=1)
    assert len(trace) > 10_000
    begun = time.process_time()
    found = replay(trace, Scene(seats("abcd")))
    assert time.process_time() - begun < 5
    assert figures("x", found).all.served == len(trace)


def test_figures_count_what_was_replayed() -> None:
    """Served and refused, by model and together; who had the device."""
    trace = generate(Shape(tuple("ab"), seconds=60, rate=2.0, shift_seconds=15), seed=2)
    found = figures("x", replay(trace, Scene(seats("ab"))))
    assert sum(times.served + times.refused for times in found.by_model.values()) == len(trace) == found.all.served
    assert found.all.ttft_p50 is not None
    assert found.all.ttft_p95 is not None
    assert found.all.ttft_p50 <= found.all.ttft_p95
    assert found.switch_p50 == pytest.approx(1.04)
    assert 0.5 < sum(found.awake.values()) <= 1


@given(st.lists(st.floats(0, 100), min_size=1, max_size=50), st.floats(0, 1))
def test_a_quantile_lies_within_the_values(values: list[float], part: float) -> None:
    """And the ends are the ends."""
    found = quantile(values, part)
    assert found is not None
    assert min(values) - 1e-9 <= found <= max(values) + 1e-9
    assert quantile(values, 0) == min(values)
    assert quantile(values, 1) == max(values)
    assert quantile([], part) is None
