"""The device table, and the machines that a person can name."""

from __future__ import annotations

import json
import re
from importlib import resources
from pathlib import Path

import pytest

from tritonfleet.errors import UsageError
from tritonfleet.planner import instances, machine_here, machine_of_gpus, machine_of_instance
from tritonfleet.planner.devices import GIB, gpu_kinds
from tritonfleet.planner.here import memory_limits

TABLE = json.loads(resources.files("tritonfleet.planner").joinpath("devices.json").read_text())


def test_every_instance_type_names_a_known_gpu_and_a_price() -> None:
    """And the table says where and when the prices come from."""
    assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", TABLE["instances"]["_priced"])
    assert "Price List" in TABLE["instances"]["_source"]
    assert TABLE["gpus"]["_source"]
    for machine in instances():
        assert machine.gpus
        assert machine.price is not None
        assert machine.price.usd_per_hour > 0
        assert {gpu.kind for gpu in machine.gpus} <= set(gpu_kinds())


def test_instances_come_cheapest_first() -> None:
    """The search for an instance relies on it."""
    prices = [machine.price.usd_per_hour for machine in instances() if machine.price]
    assert prices == sorted(prices)


def test_one_instance_type() -> None:
    """As AWS describes it."""
    machine = machine_of_instance("g5.24xlarge")
    assert (len(machine.gpus), machine.gpus[0].kind, machine.vcpus, machine.host_bytes) == (4, "a10g", 96, 384 * GIB)


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("h200", ["h200"]),
        ("H200:2", ["h200"] * 2),
        ("l4x2", ["l4"] * 2),
        ("l4:1, a100-80g:2", ["l4", *["a100-80g"] * 2]),
    ],
)
def test_gpus_by_kind_and_count(text: str, kinds: list[str]) -> None:
    """The count may be left out, several kinds are joined with commas."""
    assert [gpu.kind for gpu in machine_of_gpus(text).gpus] == kinds


@pytest.mark.parametrize(
    ("text", "message"),
    [("h20:1", "did you mean h200"), ("h200:0", "from 1 to 64"), ("h200:1:1", "KIND:COUNT"), ("", "KIND:COUNT")],
)
def test_wrong_gpus(text: str, message: str) -> None:
    """The near match, or the form."""
    with pytest.raises(UsageError, match=message):
        machine_of_gpus(text)


def test_an_unknown_instance_type_gets_its_near_match() -> None:
    """And the way around the table."""
    with pytest.raises(UsageError, match=r"did you mean g5\.24xlarge.*--gpus"):
        machine_of_instance("g5.24xlage")


def test_this_machine_is_described() -> None:
    """Whole, whoever uses it now."""
    machine = machine_here()
    assert machine.host_bytes
    assert machine.vcpus
    assert all(gpu.total_bytes and not gpu.taken_bytes for gpu in machine.gpus)


def test_a_containers_limit_is_its_memory(tmp_path: Path) -> None:
    """Of its own control group and those above, in either version; words are no limits."""
    group = tmp_path / "sys/fs/cgroup/pods/mine"
    group.mkdir(parents=True)
    assert memory_limits(tmp_path) == []
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/pods/mine\n")
    (group / "memory.max").write_text("max\n")
    (group.parent / "memory.max").write_text("17179869184\n")
    assert memory_limits(tmp_path) == [2**34]
    (tmp_path / "sys/fs/cgroup/memory").mkdir()
    (tmp_path / "sys/fs/cgroup/memory/memory.limit_in_bytes").write_text("9223372036854771712\n")
    assert min(memory_limits(tmp_path)) == 2**34
