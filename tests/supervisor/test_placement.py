"""Devices for every replica: never twice by accident, never one that is not there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tritonfleet.errors import CapacityError
from tritonfleet.spec.models import FleetSpec, ModelSpec
from tritonfleet.supervisor.placement import deal, place


def fleet(*models: ModelSpec) -> FleetSpec:
    return FleetSpec(models=models)


def model(name: str, **options: object) -> ModelSpec:
    return ModelSpec.model_validate({"name": name, "source": "demo://llama2", **options})


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3)), min_size=1, max_size=5), st.integers(1, 16))
def test_auto_gives_every_gpu_once_or_says_it_does_not_fit(sizes: list[tuple[int, int]], gpus: int) -> None:
    spec = fleet(
        *(model(f"m{number}", tensor_parallel=size, replicas=count) for number, (size, count) in enumerate(sizes))
    )
    needed = sum(size * count for size, count in sizes)
    if needed > gpus:
        with pytest.raises(CapacityError, match="needs"):
            place(spec, gpus=gpus, cores=[0])
    else:
        given_out = [gpu for entry in place(spec, gpus=gpus, cores=[0]) for gpu in entry.gpus]
        assert sorted(given_out) == list(range(needed))


def test_named_gpus_are_left_alone_by_auto() -> None:
    places = place(fleet(model("a"), model("b", devices=[0])), gpus=2, cores=[0])
    assert [entry.gpus for entry in places] == [(1,), (0,)]


def test_replicas_take_turns_over_the_named_gpus() -> None:
    places = place(fleet(model("a", devices=[2, 3], replicas=3)), gpus=4, cores=[0])
    assert [entry.gpus for entry in places] == [(2,), (3,), (2,)]


def test_without_a_gpu_the_cores_are_dealt_out() -> None:
    places = place(fleet(model("a"), model("b")), gpus=0, cores=[0, 1, 2, 3])
    assert [(entry.gpus, entry.cores) for entry in places] == [((), (0, 1)), ((), (2, 3))]


def test_a_gpu_that_is_not_there_is_named() -> None:
    with pytest.raises(CapacityError, match=r"a: devices names GPU 3, but this machine has GPUs 0 to 1"):
        place(fleet(model("a", devices=3)), gpus=2, cores=[0])


def test_an_engine_without_a_cpu_version_is_refused() -> None:
    with pytest.raises(CapacityError, match="sglang needs a GPU"):
        place(fleet(model("a", engine="sglang")), gpus=0, cores=[0])


@given(st.lists(st.integers(0, 200), unique=True, min_size=1), st.integers(1, 40))
def test_dealing_is_even_and_complete(cores: list[int], hands: int) -> None:
    shares = deal(cores, hands)
    assert len(shares) == hands
    assert all(shares)
    if len(cores) >= hands:
        assert [core for share in shares for core in share] == cores
        assert max(map(len, shares)) - min(map(len, shares)) <= 1
