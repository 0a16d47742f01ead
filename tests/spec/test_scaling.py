"""The scaling section: defaults, derived values, and what is refused."""

from __future__ import annotations

import pytest

from tritonfleet.errors import SpecError
from tritonfleet.spec import ScalingSpec, parse_spec


def read(text: str) -> ScalingSpec:
    """Read one model's scaling section."""
    scaling = parse_spec(f"models:\n- name: a\n  source: ./x\n  scaling: {{{text}}}\n").models[0].scaling
    assert scaling is not None
    return scaling


def test_every_default_is_pinned() -> None:
    """Changing one of these changes what running clusters cost; do it on purpose."""
    assert read("max_replicas: 4, concurrency: 64").model_dump() == {
        "min_replicas": 1,
        "max_replicas": 4,
        "concurrency": 64,
        "ttft_goal_seconds": 2.0,
        "headroom": 0.75,
        "kv_cache_usage": 0.8,
        "start_seconds": 300.0,
        "up_window_seconds": 0,
        "down_window_seconds": None,
        "down_period_seconds": 120,
        "idle_seconds": 900,
    }


def test_the_target_is_part_of_the_concurrency() -> None:
    """It is a whole number of requests, and never none."""
    assert read("max_replicas: 4, concurrency: 65").target == 48
    assert read("max_replicas: 4, concurrency: 1").target == 1


def test_slow_starts_make_for_slow_stops() -> None:
    """A replica that took ten minutes to come is kept for twenty."""
    assert read("max_replicas: 4, concurrency: 8").stabilisation_seconds == 600
    assert read("max_replicas: 4, concurrency: 8, start_seconds: 600").stabilisation_seconds == 1200
    assert read("max_replicas: 4, concurrency: 8, down_window_seconds: 30").stabilisation_seconds == 30


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_replicas: 2, concurrency: 8, min_replicas: 3", "min_replicas 3 is more than max_replicas 2"),
        ("concurrency: 8", "max_replicas"),
        ("max_replicas: 2", "concurrency"),
        ("max_replicas: 2, concurency: 8", "concurrency"),
        ("max_replicas: 2, concurrency: 8, headroom: 1.5", "headroom"),
    ],
)
def test_wrong_sections_are_refused(text: str, message: str) -> None:
    """The message names the key."""
    with pytest.raises(SpecError, match=message):
        read(text)


@pytest.mark.parametrize("key", ["max_num_seqs", "max-num-seqs"])
def test_concurrency_beyond_the_batch_is_refused(key: str) -> None:
    """Replicas would come for the queue and look idle once it is gone: that flaps."""
    text = "models:\n- name: a\n  source: ./x\n  engine_args: {%s: 8}\n  scaling: {max_replicas: 2, concurrency: %d}\n"
    parse_spec(text % (key, 8))
    with pytest.raises(SpecError, match=r"concurrency is 9, but engine_args.max_num_seqs lets only 8"):
        parse_spec(text % (key, 9))


def test_a_model_that_is_not_loaded_is_not_scaled() -> None:
    """Its engine tells nothing, and nothing is not zero."""
    text = "models:\n- {name: a, source: ./x, load: false, scaling: {max_replicas: 2, concurrency: 8}}\n"
    with pytest.raises(SpecError, match="remove load: false or scaling"):
        parse_spec(text)
