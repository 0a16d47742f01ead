"""What `up` gives every engine: what the plan says, cores on the CPU, counted GPUs where the plan is ignored."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.planner.shapes import facts, fleet

from tritonfleet.errors import CapacityError, UsageError
from tritonfleet.planner import Machine, machine_of_gpus
from tritonfleet.planner.devices import GIB
from tritonfleet.spec.models import ModelSpec
from tritonfleet.spec.sharing import ShareSpec
from tritonfleet.supervisor.placement import Place, Placement, deal, place, place_beside, place_by_count

LAPTOP = Machine("laptop", (), host_bytes=64 * GIB)


def placed(machine: Machine, *models: dict[str, Any], ignore_plan: bool = False) -> Placement:
    """Place models of well-known shapes (see ``shapes``) on four cores."""
    return place(fleet(*models), facts(*models), machine, [0, 1, 2, 3], ignore_plan=ignore_plan)


def test_one_gpu_is_divided_as_the_plan_says() -> None:
    """Each engine is told its part; without it the second would not start."""
    found = placed(machine_of_gpus("h200:1"), {"name": "a"}, {"name": "b", "shape": "qwen3-8b"})
    assert [entry.gpus for entry in found.places] == [(0,), (0,)]
    shares = [entry.memory_share or 0 for entry in found.places]
    assert sum(shares) == pytest.approx(0.92, abs=0.01)
    assert found.plan is not None


def test_the_users_own_part_of_the_memory_stands() -> None:
    """gpu_memory_utilization under engine_args."""
    model: dict[str, Any] = {"name": "a", "engine_args": {"gpu_memory_utilization": 0.5}}
    assert placed(machine_of_gpus("h100:2"), model).places[0].memory_share == 0.5


def test_a_cache_in_bytes_still_tells_the_part() -> None:
    """vLLM compares it with what is free before it starts, and its default is nearly the whole GPU."""
    model: dict[str, Any] = {"name": "a", "engine_args": {"kv_cache_memory_bytes": 4 * GIB}}
    share = placed(machine_of_gpus("h100:1"), model).places[0].memory_share
    assert share is not None
    assert 0.2 < share < 0.3


def test_a_group_is_placed_together_with_its_level_of_sleep() -> None:
    """On one GPU of two, each member nearly the whole of it."""
    models: list[dict[str, Any]] = [{"name": name, "share": "g"} for name in "abcd"]
    found = placed(machine_of_gpus("h200:1"), *models)
    assert {entry.gpus for entry in found.places} == {(0,)}
    assert [entry.sleep for entry in found.places] == [1] * 4
    assert all((entry.memory_share or 0) > 0.85 for entry in found.places)
    group = found.groups[0]
    assert [member.model for member in group.members] == list("abcd")
    assert all(group.capacity_bytes / 2 < member.need_bytes <= group.capacity_bytes for member in group.members)


def test_what_does_not_fit_is_refused_with_the_arithmetic_and_the_way_around() -> None:
    """Before anything starts."""
    models: list[dict[str, Any]] = [{"name": name, "shape": "qwen3-8b"} for name in "abc"]
    with pytest.raises(CapacityError, match=r"(?s)weights 15\.3 GiB .* = .* GiB on each GPU.*`up --ignore-plan`"):
        placed(machine_of_gpus("l4:1"), *models)
    found = placed(machine_of_gpus("l4:2"), *models, ignore_plan=True)
    assert [entry.gpus for entry in found.places] == [(0,), (1,), (0,)]
    assert all(entry.memory_share is None for entry in found.places)
    assert "the plan is ignored" in found.warnings[0]
    assert "GiB" in found.warnings[0]


def test_what_others_hold_is_not_given_out() -> None:
    """A GPU that another program fills is passed over, and the refusal names it."""
    from dataclasses import replace

    first, second = machine_of_gpus("h100:2").gpus
    half = Machine("here", (replace(first, taken_bytes=70 * GIB), second))
    assert placed(half, {"name": "a"}).places[0].gpus == (1,)
    full = Machine("here", (replace(first, taken_bytes=70 * GIB),))
    with pytest.raises(CapacityError, match=r"other processes hold 70\.0 GiB of GPU 0"):
        placed(full, {"name": "a"})


def test_a_wrong_shape_is_refused_too() -> None:
    """vLLM would refuse it minutes later."""
    with pytest.raises(UsageError, match="does not divide"):
        placed(machine_of_gpus("h100:4"), {"name": "a", "shape": "qwen2-0.5b", "tensor_parallel": 4})


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3)), min_size=1, max_size=5), st.integers(1, 16))
def test_counting_gives_every_gpu_once_before_any_twice(sizes: list[tuple[int, int]], gpus: int) -> None:
    """Or says that one engine takes more GPUs than there are."""
    spec = fleet(
        *({"name": f"m{number}", "tensor_parallel": size, "replicas": n} for number, (size, n) in enumerate(sizes))
    )
    machine = machine_of_gpus(f"h100:{gpus}")
    if max(size for size, _ in sizes) > gpus:
        with pytest.raises(CapacityError, match="takes"):
            place_by_count(spec, machine, [0])
        return
    given_out = [gpu for entry in place_by_count(spec, machine, [0]).places for gpu in entry.gpus]
    counts = [given_out.count(gpu) for gpu in range(gpus)]
    assert max(counts) - min(counts) <= 1
    assert sum(counts) == sum(size * count for size, count in sizes)


def test_named_gpus_are_left_alone_by_counting() -> None:
    """Whichever comes first in the spec."""
    spec = fleet({"name": "a"}, {"name": "b", "devices": (0,)})
    assert [entry.gpus for entry in place_by_count(spec, machine_of_gpus("h100:2"), [0]).places] == [(1,), (0,)]


def test_a_counted_group_has_one_awake_at_a_time() -> None:
    """Its members lie on the same GPU."""
    spec = fleet(
        {"name": "a", "share": "g"}, {"name": "b", "share": "g"}, {"name": "c", "share": "g", "keep_warm": True}
    )
    found = place_by_count(spec, machine_of_gpus("h100:1"), [0])
    group = found.groups[0]
    assert [(member.need_bytes, member.level) for member in group.members] == [(1, 1), (1, 1), (0, None)]
    assert group.capacity_bytes == 1
    assert {entry.gpus for entry in found.places} == {(0,)}


def test_without_a_gpu_the_cores_are_dealt_out() -> None:
    """Evenly, and contiguous."""
    found = placed(LAPTOP, {"name": "a", "shape": "qwen2-0.5b"}, {"name": "b", "shape": "qwen2-0.5b"})
    assert [(entry.gpus, entry.cores) for entry in found.places] == [((), (0, 1)), ((), (2, 3))]
    assert str(found.places[0]) == "cpu"


def test_memory_of_the_host_is_counted_on_the_cpu() -> None:
    """Too little of it is a refusal; members of a group that do not fit together stop for each other."""
    small = Machine("laptop", (), host_bytes=20 * GIB)
    models: list[dict[str, Any]] = [{"name": "a", "max_model_len": 1024}, {"name": "b", "max_model_len": 1024}]
    with pytest.raises(CapacityError, match=r"(?s)on the CPU need .* and laptop has 20\.0 GiB.*a/0: 13\.6 GiB"):
        placed(small, *models)
    shared = placed(small, *({**model, "share": "g"} for model in models))
    assert [entry.sleep for entry in shared.places] == ["stop", "stop"]
    roomy = placed(LAPTOP, *({**model, "share": "g"} for model in models))
    assert [entry.sleep for entry in roomy.places] == [1, 1]
    group = roomy.groups[0]
    assert [member.need_bytes for member in group.members] == [group.capacity_bytes] * 2


def test_the_way_to_sleep_that_a_group_names_is_kept() -> None:
    """Also where the plan would choose another one, and where the plan is ignored."""
    models: list[dict[str, Any]] = [{"name": name, "share": "g"} for name in "ab"]
    spec = fleet(*models).model_copy(update={"share": {"g": ShareSpec(sleep=2)}})
    machine = machine_of_gpus("h200:1")
    assert [entry.sleep for entry in place(spec, facts(*models), machine, [0]).places] == [2, 2]
    assert [entry.sleep for entry in place_by_count(spec, machine, [0]).places] == [2, 2]


def test_an_engine_that_cannot_sleep_stops() -> None:
    """llama.cpp has no call for it."""
    models: list[dict[str, Any]] = [{"name": name, "share": "g", "engine": "llamacpp"} for name in "ab"]
    assert [entry.sleep for entry in placed(LAPTOP, *models).places] == ["stop", "stop"]


def test_an_engine_without_a_cpu_version_is_refused() -> None:
    """Before anything is fetched."""
    with pytest.raises(CapacityError, match="sglang needs a GPU"):
        placed(LAPTOP, {"name": "a", "engine": "sglang"})


def test_a_model_that_comes_later_takes_the_gpu_with_the_fewest_engines() -> None:
    """And on the CPU a part of all cores."""
    taken = [Place("a", 0, (0,), ()), Place("b", 0, (2,), ())]
    late = ModelSpec(name="late", source="./late")
    assert place_beside(taken, late, machine_of_gpus("h100:3"), [0])[0].gpus == (1,)
    assert place_beside([Place("a", 0, (), (0, 1))], late, LAPTOP, [0, 1])[0].cores == (1,)


@given(st.lists(st.integers(0, 200), unique=True, min_size=1), st.integers(1, 40))
def test_dealing_is_even_and_complete(cores: list[int], hands: int) -> None:
    """No hand is empty, and no core is lost."""
    shares = deal(cores, hands)
    assert len(shares) == hands
    assert all(shares)
    if len(cores) >= hands:
        assert [core for share in shares for core in share] == cores
        assert max(map(len, shares)) - min(map(len, shares)) <= 1
