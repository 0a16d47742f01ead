"""Plans: they never give out more than there is, and a fleet that does not fit is told why."""

from __future__ import annotations

import io
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.planner.shapes import CONFIGS, facts, fleet
from tritonfleet.errors import CapacityError, UsageError
from tritonfleet.planner import Machine, Plan, cheapest, instances, machine_of_gpus, machine_of_instance, plan
from tritonfleet.planner.architecture import read_architecture
from tritonfleet.planner.demand import demand
from tritonfleet.planner.devices import GIB, make_gpu
from tritonfleet.planner.facts import ModelFacts
from tritonfleet.planner.memory import CONTEXT_BYTES, batch_defaults, usable
from tritonfleet.planner.render import plan_view, to_json
from tritonfleet.planner.weights import StoredWeights


def planned(machine: str, *models: dict[str, Any]) -> Plan:
    """Plan *models* (see ``shapes``) on GPUs."""
    return plan(fleet(*models), facts(*models), machine_of_gpus(machine))


SHAPES = ["llama-2-7b", "qwen2-0.5b", "qwen3-8b", "mistral-7b", "gemma-3-27b"]


@st.composite
def fleets(draw: st.DrawFn) -> tuple[list[dict[str, Any]], Machine]:
    """Up to four models of any kind, on up to three GPUs of any size."""
    sizes = draw(st.lists(st.sampled_from([16, 24, 48, 80, 141]), min_size=1, max_size=3))
    machine = Machine("test", tuple(make_gpu(f"gpu{size}", size * 10**9, 3e10) for size in sizes), host_bytes=64 * GIB)
    models = []
    for index in range(draw(st.integers(1, 4))):
        model: dict[str, Any] = {"name": f"m{index}", "shape": draw(st.sampled_from(SHAPES)), "max_model_len": 2048}
        kind = draw(st.sampled_from(["plain", "share", "warm", "parallel", "part", "bytes", "named"]))
        if kind in ("share", "warm"):
            model |= {"share": draw(st.sampled_from(["a", "b"])), "keep_warm": kind == "warm"}
        elif kind == "parallel":
            model |= {"tensor_parallel": 2}
        elif kind == "part":
            model |= {"engine_args": {"gpu_memory_utilization": draw(st.sampled_from([0.3, 0.45, 0.9]))}}
        elif kind == "bytes":
            model |= {"engine_args": {"kv_cache_memory_bytes": 3 * GIB}}
        elif kind == "named":
            model |= {"devices": (draw(st.integers(0, len(sizes) - 1)),)}
        models.append(model)
    return models, machine


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(fleets())
def test_no_plan_gives_out_more_than_a_gpu_has(case: tuple[list[dict[str, Any]], Machine]) -> None:
    """Whoever of a share group is awake; and every engine has room for one sequence."""
    models, machine = case
    try:
        found = plan(fleet(*models), facts(*models), machine)
    except CapacityError:
        assume(False)
        raise
    for number, gpu in enumerate(machine.gpus):
        here = [replica for replica in found.replicas if number in replica.gpus]
        always = sum(replica.claim_bytes + CONTEXT_BYTES for replica in here if replica.sleep is None)
        groups: dict[str, list[tuple[int, int]]] = {}
        for replica in here:
            if replica.sleep is not None:
                entry = (replica.claim_bytes + CONTEXT_BYTES, replica.sleep.resident_bytes)
                groups.setdefault(replica.share or "", []).append(entry)
        turns = [
            [
                sum(awake if i == index else asleep for i, (awake, asleep) in enumerate(group))
                for index in range(len(group))
            ]
            for group in groups.values()
        ]
        for state in product(*turns):
            assert always + sum(state) <= gpu.total_bytes
        assert found.gpus[number].used_bytes <= gpu.total_bytes
    for replica in found.replicas:
        assert replica.concurrent >= 1
        assert replica.longest_context >= 2048
        total = replica.weights_bytes + replica.activation_bytes + replica.graph_bytes + replica.kv_bytes
        assert total == replica.claim_bytes


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(fleets())
def test_a_plan_exists_whenever_single_engines_fit_by_brute_force(
    case: tuple[list[dict[str, Any]], Machine],
) -> None:
    """For fleets of one-GPU engines that leave their memory to the plan, against every assignment."""
    models, machine = case
    plain = [{key: model[key] for key in ("name", "shape", "max_model_len")} for model in models]
    known = facts(*plain)
    needs = []
    for model in fleet(*plain).models:
        wanted = [demand(model, known[model.name], gpu) for gpu in machine.gpus]
        needs.append([each.need + CONTEXT_BYTES for each in wanted if each is not None])
    fits = any(
        all(
            sum(row[gpu] for row, place in zip(needs, where, strict=True) if place == gpu) <= usable(machine.gpus[gpu])
            for gpu in range(len(machine.gpus))
        )
        for where in product(range(len(machine.gpus)), repeat=len(plain))
    )
    try:
        plan(fleet(*plain), known, machine)
        found = True
    except CapacityError:
        found = False
    assert found == fits


def test_a_model_alone_gets_what_vllm_takes_by_itself() -> None:
    """0.92 of the device, weights first; the rest is KV cache."""
    engine = planned("h200:1", {"name": "a"}).replicas[0]
    assert engine.utilization == pytest.approx(0.92, abs=1e-4)
    assert engine.weights_bytes == pytest.approx(13.48e9, rel=0.001)
    assert engine.kv_tokens == pytest.approx(235_000, rel=0.01)
    assert engine.concurrent == pytest.approx(engine.kv_tokens / 4096, rel=0.001)


def test_two_models_get_a_gpu_each_while_there_are_two() -> None:
    """In the order of the spec, whatever their sizes."""
    found = planned("h200:2", {"name": "small", "shape": "qwen2-0.5b"}, {"name": "large", "shape": "gemma-3-27b"})
    assert [engine.gpus for engine in found.replicas] == [(0,), (1,)]


def test_two_models_on_one_gpu_divide_what_is_left() -> None:
    """Each with its own gpu_memory_utilization for vLLM."""
    found = planned("h200:1", {"name": "a"}, {"name": "b", "shape": "qwen3-8b"})
    shares = [engine.utilization or 0 for engine in found.replicas]
    assert sum(shares) == pytest.approx(0.92, abs=0.01)
    assert min(shares) > 0.4


def test_tensor_parallel_engines_have_their_gpus_for_themselves() -> None:
    """The others go elsewhere."""
    found = planned("h100:3", {"name": "small", "shape": "qwen2-0.5b"}, {"name": "big", "tensor_parallel": 2})
    by_name = {engine.model: set(engine.gpus) for engine in found.replicas}
    assert len(by_name["big"]) == 2
    assert not by_name["big"] & by_name["small"]


def test_replicas_take_the_named_gpus_in_turn() -> None:
    """As placement has always done."""
    found = planned("h100:4", {"name": "a", "devices": (1, 3), "replicas": 2})
    assert [engine.gpus for engine in found.replicas] == [(1,), (3,)]


def test_a_share_group_fits_where_its_members_do_not() -> None:
    """Each member gets nearly all of the GPU; the sleeping one keeps a little of it."""
    models: list[dict[str, Any]] = [
        {"name": "a", "share": "g"},
        {"name": "b", "shape": "qwen3-8b", "share": "g", "max_model_len": 8192},
    ]
    alone = [{key: value for key, value in model.items() if key != "share"} for model in models]
    with pytest.raises(CapacityError, match="turns with share"):
        planned("l4:1", *alone)
    found = planned("l4:1", *models)
    assert all(engine.gpus == (0,) and (engine.utilization or 0) > 0.8 for engine in found.replicas)
    assert all(engine.sleep and engine.sleep.level == 1 for engine in found.replicas)
    assert {segment.part for segment in found.gpus[0].segments} >= {"weights", "asleep"}


def test_a_group_that_nobody_needs_is_pointed_out() -> None:
    """Where its members have room side by side; not where they have none, or little."""

    def said(gpus: str, **options: Any) -> bool:
        models: list[dict[str, Any]] = [{"name": name, "share": "g", **options} for name in "ab"]
        return any("its models fit side by side" in note for note in planned(gpus, *models).notes)

    assert said("h200:1")
    assert not said("l4:1")
    assert not said("h100:1", max_model_len=32768)
    assert said("l4:2", max_model_len=2048)


def test_a_warm_member_never_sleeps() -> None:
    """It holds its memory beside whoever is awake."""
    found = planned(
        "h200:1",
        {"name": "a", "share": "g", "keep_warm": True},
        {"name": "b", "share": "g"},
        {"name": "c", "share": "g"},
    )
    assert [engine.sleep is None for engine in found.replicas] == [True, False, False]


def test_members_sleep_deeply_where_the_host_is_small() -> None:
    """The largest first; a model with adapters never."""
    models: list[dict[str, Any]] = [
        {"name": "a", "share": "g"},
        {"name": "b", "shape": "qwen3-8b", "share": "g", "max_model_len": 8192},
    ]
    machine = replace(machine_of_gpus("h200:1"), host_bytes=24 * GIB)
    found = plan(fleet(*models), facts(*models), machine)
    assert [engine.sleep.level for engine in found.replicas if engine.sleep] == [1, 2]
    assert "sleep at level 2" in " ".join(found.notes)
    models[1] |= {"lora": {"x": "./x"}}
    found = plan(fleet(*models), facts(*models), machine)
    assert [engine.sleep.level for engine in found.replicas if engine.sleep] == [2, 1]


def test_swap_times_are_those_that_were_measured() -> None:
    """A 7B model on an H200: sleep 0.31 s, wake 0.71 to 0.75 s."""
    sleep = planned("h200:1", {"name": "a", "share": "g"}).replicas[0].sleep
    assert sleep is not None
    assert sleep.sleep_seconds == pytest.approx(0.31, rel=0.05)
    assert sleep.first_sleep_seconds == pytest.approx(10.3, rel=0.05)
    assert sleep.wake_seconds == pytest.approx(0.73, rel=0.05)


def test_a_model_that_is_too_large_is_refused_with_the_sum() -> None:
    """And with the context length that would fit."""
    with pytest.raises(CapacityError, match=r"weights 12\.6 GiB .* = .*`max_model_len: \d+` would fit"):
        planned("l4:1", {"name": "a", "shape": "llama-2-7b", "max_model_len": 16384})
    with pytest.raises(CapacityError, match="quantised model"):
        planned("t4:1", {"name": "a", "shape": "gemma-3-27b"})


def test_what_does_not_fit_together_is_listed() -> None:
    """Every engine with its need, and the GPUs."""
    with pytest.raises(CapacityError, match=r"(?s)l4:1.*a/0: 16\.\d GiB.*b/0: 16\.\d GiB.*max_model_len"):
        planned("l4:1", {"name": "a"}, {"name": "b"})


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        ({"devices": (3,)}, CapacityError, "devices names GPU 3, but h100:2 has GPUs 0 to 1"),
        ({"tensor_parallel": 4}, CapacityError, r"takes 4 GPU\(s\), but h100:2 has 2"),
        ({"tensor_parallel": 2, "shape": "llama-2-7b", "pipeline_parallel": 1, "engine": "tensorrt-llm"}, None, ""),
        (
            {"engine_args": {"gpu_memory_utilization": 0.1}},
            CapacityError,
            r"gpu_memory_utilization gives the engine 7\.9",
        ),
        ({"engine_args": {"gpu_memory_utilization": 90}}, UsageError, "a part of the GPU's memory, 0 to 1"),
        ({"engine_args": {"max_num_seqs": "many"}}, UsageError, "max_num_seqs is 'many'; write a number"),
    ],
)
def test_impossible_wishes(model: dict[str, Any], error: type[Exception] | None, message: str) -> None:
    """Each names what was asked and what there is."""
    if error is None:
        planned("h100:2", {"name": "a", **model})
        return
    with pytest.raises(error, match=message):
        planned("h100:2", {"name": "a", **model})


def test_heads_must_divide() -> None:
    """vLLM refuses it too, minutes later."""
    with pytest.raises(UsageError, match="tensor_parallel 4 does not divide the model's 14 attention heads"):
        planned("h100:4", {"name": "a", "shape": "qwen2-0.5b", "tensor_parallel": 4})


@pytest.mark.parametrize(
    ("other", "message"),
    [({"tensor_parallel": 2}, "the same number"), ({"devices": (1,)}, "names different GPUs")],
)
def test_members_of_a_group_must_agree(other: dict[str, Any], message: str) -> None:
    """On how many GPUs, and on which."""
    with pytest.raises(UsageError, match=message):
        planned("h100:2", {"name": "a", "share": "g", "devices": (0,)}, {"name": "b", "share": "g", **other})


def test_without_gpus_the_cpu_serves() -> None:
    """vLLM has a CPU version; an engine without one is refused."""
    machine = Machine("laptop", (), host_bytes=16 * GIB)
    models: list[dict[str, Any]] = [{"name": "a", "shape": "qwen2-0.5b"}]
    found = plan(fleet(*models), facts(*models), machine)
    assert found.replicas[0].gpus == ()
    assert found.host_bytes == pytest.approx(0.99e9 + GIB, rel=0.1)
    with pytest.raises(CapacityError, match="sglang needs a GPU"):
        plan(fleet({"name": "a", "engine": "sglang"}), facts({"name": "a"}), machine)


def test_a_model_that_is_not_computed_has_its_gpu_alone() -> None:
    """With a note."""
    spec = fleet({"name": "a", "engine": "llamacpp"}, {"name": "b", "shape": "qwen2-0.5b"})
    known = {"a": ModelFacts(None, file_bytes=GIB), **facts({"name": "b", "shape": "qwen2-0.5b"})}
    found = plan(spec, known, machine_of_gpus("h100:2"))
    assert [engine.gpus for engine in found.replicas] == [(0,), (1,)]
    assert any("a: its memory is not computed" in note for note in found.notes)
    with pytest.raises(CapacityError):
        plan(spec, known, machine_of_gpus("h100:1"))


def test_the_cheapest_instance_that_fits_is_found() -> None:
    """No cheaper one in the table holds the fleet."""
    models: list[dict[str, Any]] = [{"name": "a"}, {"name": "b"}]
    found = cheapest(fleet(*models), facts(*models), instances())
    assert found.cost is not None
    for machine in instances():
        if machine.price and machine.price.usd_per_hour < found.cost.usd_per_hour:
            with pytest.raises(CapacityError):
                plan(fleet(*models), facts(*models), machine)


def test_nothing_holds_a_fleet_that_is_too_large() -> None:
    """The largest type's reason is the answer."""
    model: dict[str, Any] = {"name": "a", "shape": "deepseek-v3"}
    with pytest.raises(CapacityError, match=r"on p5en\.48xlarge: a does not fit"):
        cheapest(fleet(model), facts(model), instances())


def test_cost_of_a_million_tokens() -> None:
    """Dollars an hour over tokens an hour."""
    found = plan(fleet({"name": "a"}), facts({"name": "a"}), machine_of_instance("g6.xlarge"))
    assert found.cost is not None
    assert found.cost.usd_per_million_tokens is None
    rated = replace(found.cost, tokens_per_second=1000.0)
    assert rated.usd_per_million_tokens == pytest.approx(0.8048 / 3.6)


def test_batch_defaults_are_those_of_the_device() -> None:
    """Large batches from 70 GiB, but not on an A100."""
    kinds = {kind: batch_defaults(machine_of_gpus(kind).gpus[0], 4096) for kind in ("h100", "a100-80g", "l4")}
    assert kinds == {"h100": (8192, 1024), "a100-80g": (2048, 256), "l4": (2048, 256)}


def test_json_and_table_show_the_plan() -> None:
    """Both from the same values."""
    from rich.console import Console

    model: dict[str, Any] = {"name": "a", "share": "g"}
    found = plan(fleet(model), facts(model), machine_of_instance("p5en.48xlarge"))
    data = to_json(found)
    assert data["gpus"][0]["free_bytes"] == found.gpus[0].free_bytes
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(plan_view(found))
    text = console.export_text()
    for part in ("p5en.48xlarge", "63.3/hour", "2026-09-24", "WEIGHTS", "12.6 GiB", "SLEEP LEVEL", "note: a:"):
        assert part in text


def test_architecture_notes_reach_the_plan() -> None:
    """What was not counted is said."""
    model: dict[str, Any] = {"name": "a", "shape": "gemma-3-27b"}
    found = planned("h200:1", model)
    assert any("encoders" in note for note in found.notes)
    assert read_architecture(CONFIGS["gemma-3-27b"], "a").notes


def test_files_that_do_not_match_the_shape_are_pointed_out() -> None:
    """The plan goes by the files, and asks."""
    model: dict[str, Any] = {"name": "a"}
    known = {"a": replace(facts(model)["a"], stored=StoredWeights(10**9, 2 * 10**9, 0, 0))}
    found = plan(fleet(model), known, machine_of_gpus("h200:1"))
    assert any("files hold 1.9 GiB of weights where its shape asks for 12.6 GiB" in note for note in found.notes)
    assert found.replicas[0].weights_bytes == pytest.approx(2e9, rel=0.01)


def test_a_fleet_that_fits_by_the_sum_is_told_about_whole_gpus() -> None:
    """More memory than needed, and still no place for both."""
    with pytest.raises(CapacityError, match=r"(?s)2 x h100 with 79\.1 GiB.*big/0: .* on each of 2 whole GPUs"):
        planned("h100:2", {"name": "a"}, {"name": "big", "tensor_parallel": 2})
