"""The autoscaler's windows and policies, against Kubernetes' own description of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scaling.rules import make_rule
from tritonfleet.scaling import Direction, History, Policy, Rule, decide

DOWN = Direction(60, (Policy("Pods", 1, 60),))


def drive(rule: Rule, loads: Sequence[float | None], *, start: int = 1, every: float = 15) -> list[int]:
    """Return the replicas after each look at a load, the looks *every* so many seconds."""
    replicas, history, found = start, History(), []
    for number, load in enumerate(loads):
        values = {"in-flight": load, "kv-cache": None if load is None else 0.0}
        decision = decide(rule, history, number * every, replicas, values)
        replicas, history = decision.replicas, decision.history
        found.append(replicas)
    return found


def test_a_step_doubles_within_each_period() -> None:
    """From 1: two more at once, then the double of what there was a minute ago."""
    assert drive(make_rule(max_replicas=20), [200] * 13) == [3] * 4 + [6] * 4 + [12] * 4 + [20]


def test_a_scale_up_waits_for_its_window() -> None:
    """The lowest wish of the window counts, so a spike of one look changes nothing."""
    rule = make_rule(up=Direction(30, (Policy("Pods", 10, 60),)))
    assert drive(rule, [5, 50, 5, 50, 50, 50]) == [1, 1, 1, 1, 5, 5]


def test_a_scale_down_waits_for_its_window() -> None:
    """The highest wish of the window counts, and then one goes at a time."""
    rule = make_rule(down=DOWN)
    assert drive(rule, [40] + [1] * 14, start=4) == [4] * 4 + [3] * 4 + [2] * 4 + [1] * 3


def test_a_dip_takes_nothing_away() -> None:
    """Load that comes back within the window finds its replicas."""
    assert drive(make_rule(down=DOWN), [40, 1, 1, 40, 1, 1, 40], start=4) == [4] * 7


def test_missing_numbers_change_nothing() -> None:
    """However long they are away."""
    assert drive(make_rule(down=DOWN), [40] + [None] * 40, start=4) == [4] * 41


def test_numbers_set_by_hand_come_back_into_the_bounds() -> None:
    """At once, even without a value."""
    assert drive(make_rule(max_replicas=8), [None], start=12) == [8]
    assert drive(make_rule(min_replicas=2), [None], start=1) == [2]


def test_percent_and_pods_take_the_larger() -> None:
    """Half of twelve is more than one."""
    rule = make_rule(max_replicas=12, down=Direction(0, (Policy("Pods", 1, 60), Policy("Percent", 50, 60))))
    assert drive(rule, [1, 1, 1, 1, 1], start=12) == [6, 6, 6, 6, 3]


def test_the_history_stays_short() -> None:
    """It holds no more than the longest window and period."""
    rule, history, replicas = make_rule(down=DOWN), History(), 1
    for look in range(400):
        decision = decide(rule, history, look * 15.0, replicas, {"in-flight": look % 70, "kv-cache": 0.1})
        history, replicas = decision.history, decision.replicas
    assert len(history.recommendations) <= 5
    assert len(history.changes) <= 5


loads = st.lists(st.none() | st.floats(0, 300), min_size=1, max_size=60)


@given(loads, st.integers(1, 8))
def test_the_policies_hold_in_any_load(series: list[float | None], start: int) -> None:
    """The bounds, and never more than one gone in two minutes."""
    rule = make_rule()
    found = [start, *drive(rule, series, start=start)]
    assert all(1 <= replicas <= 8 for replicas in found)
    gone = [max(0, before - after) for before, after in pairwise(found)]
    assert all(sum(gone[at : at + 8]) <= 1 for at in range(len(gone)))


@settings(max_examples=40)
@given(st.floats(0, 300), st.integers(1, 8))
def test_a_steady_load_comes_to_rest(load: float, start: int) -> None:
    """No flapping: what is reached after forty minutes stays."""
    found = drive(make_rule(), [load] * 200, start=start)
    assert len(set(found[160:])) == 1


def drive_idle(loads: Sequence[float | None], *, start: int) -> list[int]:
    """Like ``drive``, with a rule that lets the last replica go after a minute without load."""
    rule = replace(make_rule(min_replicas=0, down=DOWN), idle_seconds=60)
    return drive(rule, loads, start=start)


def test_an_idle_pool_goes_away() -> None:
    """After its time, at once, and not before."""
    assert drive_idle([20] + [0] * 6, start=2) == [2] * 4 + [0] * 3


def test_a_request_wakes_the_pool() -> None:
    """With one replica, and with more as soon as that is there."""
    assert drive_idle([0, 0, 0, 0, 0, 1, 80], start=0) == [0, 0, 0, 0, 0, 1, 3]


def test_an_unknown_load_is_not_idle() -> None:
    """A pool whose numbers are away is left alone."""
    assert drive_idle([20] + [None] * 20, start=2) == [2] * 21
