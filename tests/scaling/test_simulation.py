"""Replayed traces: nothing is lost, what costs is counted, and more replicas make for less waiting."""

from __future__ import annotations

import time

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scaling.rules import make_rule
from tritonfleet.scaling.rule import Rule
from tritonfleet.simulate.engine import Speed
from tritonfleet.simulate.scaling.comparison import blueprint_rule, compare
from tritonfleet.simulate.scaling.simulation import Run, simulate
from tritonfleet.simulate.trace import Request
from tritonfleet.spec import parse_spec

#: Ten requests of 100 tokens take two seconds each.
SPEED = Speed(((1, 0.02),), 10_000, 0.0, max_running=10, kv_tokens=100_000)


def steady(rate: float, seconds: float, start: float = 0.0) -> list[Request]:
    """Return requests at even distances."""
    return [Request(start + number / rate, "m", 100, 100) for number in range(int(rate * seconds))]


def fixed(replicas: int) -> Rule:
    """Return a rule that never changes anything."""
    return make_rule(min_replicas=replicas, max_replicas=replicas)


requests = st.lists(
    st.builds(Request, st.floats(0, 900), st.just("m"), st.integers(1, 3000), st.integers(1, 300)),
    min_size=1,
    max_size=60,
).map(lambda found: sorted(found, key=lambda request: request.arrival_seconds))
rules = st.builds(
    lambda target, least, extra: make_rule(target=target, min_replicas=least, max_replicas=max(1, least) + extra),
    st.integers(1, 20),
    st.integers(0, 3),
    st.integers(0, 4),
)


@settings(deadline=None, max_examples=60)
@given(requests, rules, st.floats(1, 600))
def test_every_request_is_answered_once(trace: list[Request], rule: Rule, start_seconds: float) -> None:
    """And none before its prompt was computed."""
    run = simulate(trace, rule, SPEED, start_seconds=start_seconds)
    assert len(run.ttft_seconds) == len(trace)
    for request, ttft in zip(trace, run.ttft_seconds, strict=True):
        assert ttft >= request.prompt_tokens / SPEED.prefill_tokens_per_second - 1e-9


@settings(deadline=None, max_examples=60)
@given(requests, rules, st.floats(1, 600))
def test_replicas_and_their_cost_stay_in_bounds(trace: list[Request], rule: Rule, start_seconds: float) -> None:
    """No look shows more than the most; the bill lies between the fewest and the most, drains included."""
    run = simulate(trace, rule, SPEED, start_seconds=start_seconds)
    counts = [look.replicas for look in run.looks]
    assert all(rule.min_replicas <= number <= rule.max_replicas for number in counts)
    assert all(look.ready <= look.replicas for look in run.looks)
    end = run.looks[-1].at + 15
    assert run.replica_seconds >= rule.min_replicas * end - 1e-6
    assert run.replica_seconds >= sum(look.ready for look in run.looks[:-1]) * 15 - 1e-6
    assert sum(run.steps) == counts[-1] - counts[0]


@settings(deadline=None, max_examples=40)
@given(requests, rules)
def test_the_same_seed_gives_the_same_run(trace: list[Request], rule: Rule) -> None:
    """Replays can be compared."""
    assert simulate(trace, rule, SPEED, start_seconds=200, seed=3) == simulate(
        trace, rule, SPEED, start_seconds=200, seed=3
    )


def test_a_step_gets_replicas_and_loses_them_again() -> None:
    """Load for three replicas, between two quiet times."""
    trace = steady(1, 300) + steady(12, 1500, 300) + steady(1, 1800, 1800)
    run = simulate(trace, make_rule(target=8, max_replicas=6), SPEED, start_seconds=120)
    by_time = {look.at: look for look in run.looks}
    assert by_time[285].replicas == 1
    assert by_time[345].replicas > 1  # asked for within three looks of the step
    assert 3 <= by_time[1500].ready <= 4
    assert run.looks[-1].replicas == 1
    late = run.ttft_seconds[300 + 12 * 900 : 300 + 12 * 1500]
    assert max(late) < 0.2  # the queue is gone before the step ends


def test_fixed_replicas_cost_their_time() -> None:
    """Three for ten minutes are half an hour."""
    run = simulate(steady(1, 585), fixed(3), SPEED, start_seconds=60)
    assert run.steps == ()
    assert abs(run.replica_seconds - 3 * (run.looks[-1].at + 15)) < 1e-6


def test_a_pool_without_replicas_holds_its_first_requests() -> None:
    """They wait for the start, and are answered."""
    run = simulate(steady(1, 10, 100), make_rule(min_replicas=0), SPEED, start_seconds=300)
    assert 200 < run.ttft_seconds[0] < 380
    assert run.looks[0].replicas == 0


def test_the_blueprints_rule_does_not_see_the_load() -> None:
    """A replica that drowns shows it nothing, so the time to the first token grows without end."""
    trace = steady(12, 1200)
    ours, theirs = (
        simulate(trace, rule, SPEED, start_seconds=180)
        for rule in (make_rule(target=8, max_replicas=6), blueprint_rule(1, 6))
    )
    assert theirs.steps == ()
    assert tail(theirs) > 100
    assert tail(ours) < 0.2


def test_the_comparison_has_a_row_for_each_rule_and_start_time() -> None:
    """And the two fixed fleets that bound what scaling can gain."""
    spec = parse_spec(
        "models:\n- {name: m, source: ./m, scaling: {max_replicas: 4, concurrency: 10, ttft_goal_seconds: 1}}"
    )
    model = spec.models[0]
    assert model.scaling is not None
    trace = steady(1, 300) + steady(12, 900, 300)
    rows = compare(trace, model, model.scaling, SPEED, start_minutes=(3, 10), usd_per_hour=2.0)
    assert [(row.rule, row.start_minutes) for row in rows] == [
        ("in flight", 3),
        ("blueprint", 3),
        ("in flight", 10),
        ("blueprint", 10),
        ("always 1", None),
        ("always 4", None),
    ]
    by_rule = {(row.rule, row.start_minutes): row for row in rows}
    assert by_rule["always 4", None].misses == 0
    assert by_rule["in flight", 3].misses < by_rule["in flight", 10].misses < by_rule["always 1", None].misses
    assert by_rule["blueprint", 3].misses == by_rule["always 1", None].misses
    assert all(row.usd == row.replica_hours * 2 for row in rows)


def test_a_hundred_thousand_requests_take_seconds() -> None:
    """A day of a busy model is replayed while one waits."""
    trace = steady(16, 1250)
    started = time.process_time()
    simulate(trace, make_rule(target=8, max_replicas=8), SPEED, start_seconds=300)
    assert time.process_time() - started < 4  # a fifth of the requests; 0.7 s measured


def tail(run: Run) -> float:
    """Return the longest time to the first token of the last hundred requests."""
    return max(run.ttft_seconds[-100:])
