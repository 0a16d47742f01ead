"""Goals for the time to first token."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tritonfleet.errors import UsageError
from tritonfleet.observe import Goals, TtftGoal, goals_of
from tritonfleet.observe.slo import FAST, SLOW, TTFT_BOUNDS_SECONDS, WINDOWS, records
from tritonfleet.spec import FleetSpec

PAGES = Path(__file__).parents[1] / "metrics/pages"


def spec(goal: float) -> FleetSpec:
    """Return a fleet of two models, one of which has a goal."""
    scaling = {"max_replicas": 2, "concurrency": 8, "ttft_goal_seconds": goal}
    return FleetSpec.model_validate(
        {
            "models": [
                {"name": "llama2", "source": "demo://llama2", "scaling": scaling},
                {"name": "mistral7b", "source": "demo://mistral7b"},
            ]
        }
    )


@pytest.mark.parametrize(
    ("seconds", "near"), [(2, "1 or 2.5"), (0.9, "0.75 or 1"), (9999, "640 or 2560"), (0, "0.001")]
)
def test_a_goal_between_two_buckets_names_both(seconds: float, near: str) -> None:
    """No rule could tell how many requests kept it."""
    with pytest.raises(UsageError, match=near):
        TtftGoal(seconds)


@pytest.mark.parametrize("objective", [0.9, 0.5, 1.0, 1.5, -1.0, float("nan")])
def test_an_objective_that_no_alert_can_watch_is_refused(objective: float) -> None:
    """14.4 times the budget must be less than everything."""
    with pytest.raises(UsageError, match="more than 100 % late"):
        TtftGoal(objective=objective)


@given(st.floats(0.9306, 0.999999))
def test_the_fastest_alert_can_fire(objective: float) -> None:
    """At every objective that is taken, some share of late requests below all of them makes it fire."""
    assert max(pair.factor for pair in (*FAST, *SLOW)) * TtftGoal(objective=objective).budget < 1


def test_every_window_of_an_alert_is_recorded() -> None:
    """And nothing is recorded for nobody."""
    assert {window for pair in (*FAST, *SLOW) for window in (pair.long, pair.short)} == set(WINDOWS)
    assert [record.name.removeprefix("tritonfleet:ttft_burn:rate") for record in records(Goals())] == list(WINDOWS)


@pytest.mark.parametrize(("goal", "watched"), [(2.0, 2.5), (2.5, 2.5), (0.3, 0.5), (99999.0, 2560.0)])
def test_the_goals_of_scaling_are_watched_too(goal: float, watched: float) -> None:
    """At the next bound above, as p95; the other models keep the common goal."""
    goals = goals_of(spec(goal), TtftGoal(5.0))
    assert goals == Goals(TtftGoal(5.0), {"llama2": TtftGoal(watched, 0.95)})


def test_the_bounds_are_those_of_the_real_engine() -> None:
    """The recorded page of a real vLLM has these buckets and no others."""
    page = next(path for path in sorted(PAGES.iterdir()) if "vllm" in path.name)
    bounds = re.findall(r'^vllm:time_to_first_token_seconds_bucket\{.*?le="([^"+]+)"', page.read_text(), re.MULTILINE)
    assert set(TTFT_BOUNDS_SECONDS) == {float(text) for text in bounds}
