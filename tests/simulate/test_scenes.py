"""From a plan to scenes: speeds, policies, the ways to do without an arbiter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.planner.shapes import facts, fleet
from tritonfleet.errors import UsageError
from tritonfleet.planner import Machine, machine_of_gpus, plan
from tritonfleet.planner.devices import rates
from tritonfleet.simulate import Request, Scene, Speed
from tritonfleet.simulate.scenes import (
    Fleet,
    check_models,
    parse_policy,
    planned_scene,
    restarting_scene,
    squeezed_scene,
)
from tritonfleet.simulate.speeds import Times, estimate, read_times
from tritonfleet.spec.sharing import ShareSpec
from tritonfleet.supervisor.seats import Policy, policy_of

SHARED: list[dict[str, Any]] = [{"name": name, "share": "g"} for name in "abcd"]


def made(machine: str, *models: dict[str, Any], times: dict[str, Times] | None = None) -> tuple[Fleet, Scene]:
    """Plan *models* on GPUs and make the scene of it."""
    spec, known, host = fleet(*models), facts(*models), machine_of_gpus(machine)
    found = Fleet(spec, known, host, times or {})
    return found, planned_scene(found, plan(spec, known, host), {})


def test_a_group_is_seated_as_planned() -> None:
    """On one device, with the plan's needs and times."""
    _, scene = made("h200:1", *SHARED)
    assert {seat.device for seat in scene.seats} == {"gpu 0"}
    assert all(seat.group == "g" and seat.need_bytes <= scene.capacities["g"] for seat in scene.seats)
    assert scene.seats[0].sleep_seconds == pytest.approx(0.31, rel=0.05)
    assert scene.seats[0].wake_seconds == pytest.approx(0.73, rel=0.05)
    assert scene.seats[0].first_sleep_seconds == pytest.approx(10.3, rel=0.05)


def test_without_sleep_a_switch_is_a_cold_start() -> None:
    """Of the same models in the same places."""
    found, scene = made("h200:1", *SHARED)
    restarting = restarting_scene(found, plan(found.spec, found.facts, found.machine))
    assert restarting.seats[0].wake_seconds > 60
    assert restarting.capacities == scene.capacities
    assert restarting.policies["g"].min_residency_seconds == 0


def test_squeezed_models_have_a_part_of_the_cache_each() -> None:
    """And no group; where they do not fit, the reason is told."""
    found, scene = made("h200:1", *SHARED)
    squeezed = squeezed_scene(found)
    assert isinstance(squeezed, Scene)
    assert all(seat.group is None for seat in squeezed.seats)
    assert squeezed.seats[0].speed.kv_tokens < scene.seats[0].speed.kv_tokens / 3
    tight, _ = made("l4:1", *({**model, "max_model_len": 2048} for model in SHARED))
    assert "does not fit" in str(squeezed_scene(tight))


def test_the_estimate_meets_what_was_measured() -> None:
    """Llama-2-7B's shape on an H200: 4.43 ms a token alone; 22.8 ms with 256, worked out from 8,955 tokens/s."""
    _, scene = made("h200:1", {"name": "a", "shape": "llama-2-7b"})
    speed = scene.seats[0].speed
    assert speed.tpot(1) == pytest.approx(0.00443, rel=0.05)
    assert speed.tpot(256) == pytest.approx(0.0228, rel=0.25)


def test_an_engine_takes_as_much_at_once_as_vllm_would() -> None:
    """Its defaults are larger on large GPUs; what the model's options say goes before them."""
    one = {"name": "a", "shape": "llama-2-7b"}
    large, small = (made(gpus, one)[1].seats[0].speed for gpus in ("h200:1", "l40s:1"))
    assert (large.max_running, large.batch_tokens) == (1024, 8192)
    assert (small.max_running, small.batch_tokens) == (256, 2048)
    given = {"max_num_seqs": 8, "max_num_batched_tokens": 4096}
    speed = made("h200:1", {**one, "engine_args": given})[1].seats[0].speed
    assert (speed.max_running, speed.batch_tokens) == (8, 4096)


def test_rates_are_found_by_the_drivers_name() -> None:
    """As NVML shows it."""
    assert rates("NVIDIA H100 80GB HBM3") == rates("h100")
    assert rates("NVIDIA H200") == rates("h200")
    assert rates("NVIDIA L40S") == rates("l40s") != rates("NVIDIA L4")
    assert rates("Quadro") is None


def test_what_is_not_known_must_be_measured() -> None:
    """On the CPU; the message names the option."""
    spec, known = fleet({"name": "a", "shape": "qwen2-0.5b"}), facts({"name": "a", "shape": "qwen2-0.5b"})
    machine = Machine("laptop", ())
    replica = plan(spec, known, machine).replicas[0]
    with pytest.raises(UsageError, match=r"a: how fast it is on the CPU is not known.*--times"):
        estimate(replica, spec.models[0], known["a"], machine)
    measured = {"*": Times(Speed(((1, 0.05),), 500.0))}
    scene = planned_scene(Fleet(spec, known, machine, measured), plan(spec, known, machine), {})
    assert scene.seats[0].speed.tpot(1) == 0.05


def test_measured_times_are_read(tmp_path: Path) -> None:
    """Of a model, or of all others."""
    path = tmp_path / "times.json"
    entry = {"tpot_seconds": [[8, 0.02], [1, 0.01]], "prefill_tokens_per_second": 9000, "wake_seconds": 0.7}
    path.write_text(json.dumps({"a": entry, "*": {"tpot_seconds": 0.03, "prefill_tokens_per_second": 100}}))
    found = read_times(path)
    assert found["a"].speed.tpot_seconds == ((1, 0.01), (8, 0.02))
    assert found["a"].wake_seconds == 0.7
    assert found["*"].speed.tpot(5) == 0.03
    _, scene = made("h200:1", *SHARED, times=found)
    assert [seat.wake_seconds == 0.7 for seat in scene.seats] == [True, False, False, False]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"tpot_second": 1}, "did you mean tpot_seconds"),
        ({"tpot_seconds": 0.1}, "prefill_tokens_per_second is missing"),
        ({"tpot_seconds": "fast", "prefill_tokens_per_second": 1}, "tpot_seconds is 'fast'"),
        ({"tpot_seconds": [[0, 1]], "prefill_tokens_per_second": 1}, r"holds \[0, 1\]"),
        ({"tpot_seconds": [[1, 1], [1, 2]], "prefill_tokens_per_second": 1}, "names a batch twice"),
        ({"tpot_seconds": 1, "prefill_tokens_per_second": 0}, "write a number above 0"),
        ({"tpot_seconds": 1, "prefill_tokens_per_second": -1}, "write a number, 0 or more"),
    ],
)
def test_wrong_times_are_named(tmp_path: Path, entry: dict[str, Any], message: str) -> None:
    """File, model, key and value."""
    path = tmp_path / "times.json"
    path.write_text(json.dumps({"a": entry}))
    with pytest.raises(UsageError, match=message) as caught:
        read_times(path)
    assert "times.json: a: " in str(caught.value)


def test_policies_are_read() -> None:
    """With or without the unit in the key."""
    found = parse_policy("min_residency=4, max_wait_seconds=20", Policy())
    assert (found.min_residency_seconds, found.max_wait_seconds) == (4, 20)
    assert found.idle_seconds == Policy().idle_seconds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("min_residence=4", "did you mean min_residency"),
        ("idle", "KEY=SECONDS"),
        ("idle=x", "no number"),
        ("idle=-1", "0 or"),
    ],
)
def test_wrong_policies_are_named(text: str, message: str) -> None:
    """With the near match."""
    with pytest.raises(UsageError, match=message):
        parse_policy(text, Policy())


def test_the_groups_own_settings_are_simulated() -> None:
    """Those of fleet.yaml, which another policy changes in part."""
    spec = fleet(*SHARED).model_copy(update={"share": {"g": ShareSpec(min_residency_seconds=7, hold_seconds=20)}})
    found = Fleet(spec, facts(*SHARED), machine_of_gpus("h200:1"), {})
    scene = planned_scene(found, plan(spec, found.facts, found.machine), {})
    assert scene.policies["g"].min_residency_seconds == 7
    assert scene.wait_seconds["g"] == 20
    assert scene.policies["g"] == policy_of(spec.sharing("g"))
    changed = parse_policy("idle=1", policy_of(spec.sharing("g")))
    assert (changed.min_residency_seconds, changed.idle_seconds) == (7, 1)


def test_a_trace_for_other_models_is_refused() -> None:
    """With the near match."""
    with pytest.raises(UsageError, match=r"asks for 'llama3', and the fleet has llama2.*did you mean llama2"):
        check_models([Request(0, "llama3", 1, 1)], fleet({"name": "llama2"}))
