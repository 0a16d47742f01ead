"""The history of the fleet: rates from counters, a bounded ring, and nothing made up where nothing is known."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tritonfleet.supervisor.history import COLUMNS, KEPT_SECONDS, SAMPLE_SECONDS, History
from tritonfleet.supervisor.load import Load

START = 1_700_000_000.0


def load(tokens: float = 0, firsts: float = 0, seconds: float = 0, running: float = 1) -> Load:
    """An engine that tells everything."""
    return Load(running, 0.0, None, generated_tokens=tokens, first_tokens=firsts, ttft_sum_seconds=seconds)


def test_the_rates_are_those_between_two_samples() -> None:
    history = History()
    assert history.look(START, {"a": [load(100, 10, 2.0)]})
    assert not history.look(START + SAMPLE_SECONDS - 1, {"a": [load(150, 11, 9.0)]}), "too early"
    assert history.look(START + 10, {"a": [load(300, 14, 3.0, running=2)]})
    found = history.after(0)
    assert found["times"] == [START, START + 10]
    assert found["models"]["a"] == {
        "running": [1, 2],
        "waiting": [0, 0],
        "tokens_per_second": [None, 20],
        "ttft_seconds": [None, 0.25],
    }


def test_replicas_count_together_and_one_that_says_nothing_is_left_out() -> None:
    history = History()
    history.look(START, {"a": [load(0), load(0), Load()]})
    history.look(START + 10, {"a": [load(100, 1, 0.5), load(50, 1, 1.5), Load()]})
    point = {column: values[1] for column, values in history.after(0)["models"]["a"].items()}
    assert point == {"running": 2, "waiting": 0, "tokens_per_second": 15, "ttft_seconds": 1.0}


def test_an_engine_that_was_restarted_counts_from_zero() -> None:
    history = History()
    history.look(START, {"a": [load(1000, 50, 9)]})
    history.look(START + 10, {"a": [load(30, 1, 0.2)]})
    assert history.after(START)["models"]["a"]["tokens_per_second"] == [3]


def test_what_is_not_known_is_nothing_and_not_zero() -> None:
    history = History()
    history.look(START, {"a": [Load()]})
    history.look(START + 10, {"a": [Load()], "b": [load(5)]})
    found = history.after(0)["models"]
    assert all(found["a"][column] == [None, None] for column in COLUMNS)
    assert found["b"]["running"] == [None, 1]


def test_only_what_is_newer_is_sent() -> None:
    history = History()
    for number in range(4):
        history.look(START + 10 * number, {"a": [load(number)]})
    assert history.after(START + 10)["times"] == [START + 20, START + 30]
    assert history.after(START + 30) == {"times": [], "models": {}}


def test_a_clock_that_is_set_back_begins_anew() -> None:
    history = History()
    history.look(START, {"a": [load(1)]})
    assert history.look(START - 3600, {"a": [load(2)]})
    assert history.after(0)["times"] == [START - 3600]


@given(st.lists(st.tuples(st.floats(0.1, 400), st.floats(0, 1e6), st.integers(0, 5)), max_size=60))
def test_the_ring_is_bounded_and_its_columns_are_as_long_as_its_times(steps: list[tuple[float, float, int]]) -> None:
    history, now = History(), START
    for step, tokens, firsts in steps:
        now += step
        history.look(now, {"a": [load(tokens, firsts, firsts / 10)]})
    found = history.after(0)
    times = found["times"]
    assert times == sorted(times)
    assert len(times) <= KEPT_SECONDS / SAMPLE_SECONDS + 1
    assert not times or times[-1] - times[0] <= KEPT_SECONDS + 0.01
    for columns in found["models"].values():
        assert {len(values) for values in columns.values()} == {len(times)}
        assert all(value is None or value >= 0 for value in columns["tokens_per_second"])
