"""The memory map: the plan in pieces that add up, on GPUs and in main memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tritonfleet.planner import machine_of_gpus, plan, read_facts
from tritonfleet.planner.devices import GIB, Machine
from tritonfleet.spec.models import FleetSpec, ModelSpec
from tritonfleet.supervisor.memory_map import memory_map

DEMO = Path(__file__).parents[2] / "src/tritonfleet/demo"


def demo_map(machine: Machine, *models: ModelSpec) -> dict[str, Any]:
    """The map of some demo models on a machine."""
    folders = {model.name: next(DEMO.rglob(f"{model.source}/config.json")).parent for model in models}
    facts = {model.name: read_facts(model, folders[model.name]) for model in models}
    return memory_map(plan(FleetSpec(models=models), facts, machine))


def test_every_byte_of_a_gpu_is_given_out_or_free() -> None:
    machine = machine_of_gpus("h100:1")
    found = demo_map(machine, ModelSpec(name="a", source="llama2"), ModelSpec(name="b", source="mistral7b"))
    (pool,) = found["pools"]
    assert pool["name"] == "GPU 0: h100"
    assert sum(piece["bytes"] for piece in pool["segments"]) + pool["free_bytes"] == pool["total_bytes"]
    assert {piece["owner"] for piece in pool["segments"]} == {"a/0", "b/0"}


def test_without_a_gpu_the_models_share_the_main_memory() -> None:
    machine = Machine("box", (), host_bytes=64 * GIB, vcpus=4)
    found = demo_map(machine, ModelSpec(name="a", source="llama2", replicas=2))
    (pool,) = found["pools"]
    assert (pool["name"], pool["total_bytes"]) == ("Main memory", 64 * GIB)
    assert {(piece["owner"], piece["part"]) for piece in pool["segments"]} >= {("a/0", "weights"), ("a/1", "KV cache")}
    assert any("No GPU" in note for note in found["notes"])


def test_a_model_whose_size_is_not_computed_is_named() -> None:
    model = ModelSpec(name="quick", source="here", engine="fake")
    facts = {"quick": read_facts(model, Path("/"))}
    found = memory_map(plan(FleetSpec(models=(model,)), facts, Machine("box", (), host_bytes=GIB)))
    assert found["pools"][0]["free_bytes"] == GIB
    assert any("quick/0" in note for note in found["notes"])


def test_a_plan_that_was_ignored_is_said() -> None:
    assert memory_map(None)["pools"] == []
    assert "--ignore-plan" in memory_map(None)["notes"][0]
