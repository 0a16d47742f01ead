"""The restart policy over any history of failures."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tritonfleet.spec.models import Lifecycle
from tritonfleet.supervisor.policy import GiveUp, Restart, after_failure

histories = st.lists(st.floats(0, 1e6), min_size=1, max_size=30).map(sorted)
lifecycles = st.builds(
    Lifecycle,
    max_restarts=st.integers(0, 10),
    restart_window_seconds=st.floats(1, 1e4),
    backoff_seconds=st.floats(0.1, 10),
    backoff_max_seconds=st.floats(10, 100),
)


@given(histories, lifecycles)
def test_gives_up_exactly_when_the_window_holds_more_failures_than_restarts(
    history: list[float], lifecycle: Lifecycle
) -> None:
    recent = [moment for moment in history if history[-1] - moment <= lifecycle.restart_window_seconds]
    decision = after_failure(history, lifecycle)
    assert isinstance(decision, GiveUp) == (len(recent) > lifecycle.max_restarts)


@given(histories, lifecycles)
def test_the_wait_lies_between_first_and_longest(history: list[float], lifecycle: Lifecycle) -> None:
    decision = after_failure(history, lifecycle)
    if isinstance(decision, Restart):
        assert lifecycle.backoff_seconds <= decision.wait_seconds <= lifecycle.backoff_max_seconds


def test_the_wait_doubles() -> None:
    lifecycle = Lifecycle(backoff_seconds=1, backoff_max_seconds=6, max_restarts=9)
    waits = []
    for count in range(1, 6):
        decision = after_failure([float(second) for second in range(count)], lifecycle)
        assert isinstance(decision, Restart)
        waits.append(decision.wait_seconds)
    assert waits == [1, 2, 4, 6, 6]


def test_old_failures_are_forgotten() -> None:
    lifecycle = Lifecycle(max_restarts=1, restart_window_seconds=60)
    assert isinstance(after_failure([0, 1], lifecycle), GiveUp)
    assert after_failure([0, 1, 100], lifecycle) == Restart(wait_seconds=1.0, attempt=1)
