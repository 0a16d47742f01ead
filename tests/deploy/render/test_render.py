"""The rendered deployment: golden files, sizes, refusals, and properties of any spec's."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.deploy.fleets import COMMIT, FLEETS, GOLDEN, GOLDEN_FLEETS, SCHEMA, rendered
from tests.spec.strategies import fleets
from tritonfleet.deploy.cluster_spec import cluster_spec, kubernetes_name
from tritonfleet.deploy.pools import Pool, supported_machines
from tritonfleet.deploy.schema import chart_schema
from tritonfleet.deploy.sizes import gpu_resources, stand_ins
from tritonfleet.deploy.values import fleet_text
from tritonfleet.errors import CapacityError, UsageError
from tritonfleet.planner import Machine
from tritonfleet.planner.devices import GIB
from tritonfleet.spec import FleetSpec, parse_spec

VALUES = PurePosixPath("values.yaml")
TERRAFORM = PurePosixPath("terraform.tfvars.json")


def pools(text: str, **chosen: str) -> dict[str, Pool]:
    """Return the pools of a fleet.yaml by name."""
    return {pool.name: pool for pool in rendered(text, chosen).pools}


def fleet(*models: str) -> str:
    """Return a fleet.yaml of models, each as the lines below its name and source."""
    names = "abcdefgh"
    return "models:\n" + "".join(
        f"  - name: {names[i]}\n    source: s3://b/Mistral-7B\n    max_model_len: 4096\n{lines}"
        for i, lines in enumerate(models)
    )


@pytest.mark.parametrize("name", GOLDEN_FLEETS)
def test_files_are_the_reviewed_ones(name: str) -> None:
    expected = {
        PurePosixPath(path.relative_to(GOLDEN / name)): path.read_text()
        for path in (GOLDEN / name).rglob("*")
        if path.is_file()
    }
    assert rendered(FLEETS[name]).files == expected, "python -m tests.deploy.update"


def test_the_values_schema_knows_the_present_spec() -> None:
    assert chart_schema(SCHEMA.read_text()) == SCHEMA.read_text(), "python -m tests.deploy.update"
    jsonschema.Draft202012Validator.check_schema(json.loads(SCHEMA.read_text()))


def test_pods_serve_the_commit_that_the_hub_had() -> None:
    values = yaml.safe_load(rendered(FLEETS["two-pools"]).files[VALUES])
    assert values["models"]["llama2"]["source"] == f"hf://meta-llama/Llama-2-7b-chat-hf@{COMMIT}"


def test_each_model_has_a_pool_of_its_own_and_its_gpus_lose_their_numbers() -> None:
    values = yaml.safe_load(rendered(FLEETS["two-pools"]).files[VALUES])
    assert {name: pool["models"] for name, pool in values["pools"].items()} == {
        "llama2": ["llama2"],
        "mistral7b": ["mistral7b"],
    }
    assert "devices" not in values["models"]["mistral7b"]
    assert values["door"] == {"enabled": True}
    assert yaml.safe_load(rendered(FLEETS["one-pool"]).files[VALUES])["door"] == {"enabled": False}


def test_replicas_of_a_lone_model_are_pods_and_of_others_engines() -> None:
    alone = rendered(fleet("    replicas: 3\n"))
    assert (alone.pools[0].minimum, alone.pools[0].maximum, alone.pools[0].gpus) == (3, 3, 1)
    together = rendered(fleet("    replicas: 2\n    pool: p\n", "    pool: p\n"))
    assert together.pools[0].minimum == 1
    assert yaml.safe_load(together.files[VALUES])["models"]["a"]["replicas"] == 2


def test_the_cheapest_type_is_taken_and_larger_ones_with_its_gpus_may_stand_in() -> None:
    assert pools(FLEETS["two-pools"])["llama2"].instance_types == ("g6.xlarge", "g6.2xlarge", "g6.4xlarge")


def test_a_chosen_type_is_the_only_one() -> None:
    found = pools(FLEETS["two-pools"], llama2="g5.4xlarge")
    assert found["llama2"].instance_types == ("g5.4xlarge",)
    assert found["mistral7b"].instance_types[0] == "g6.xlarge"


def test_a_part_of_a_node_is_a_part_of_its_cores_and_memory() -> None:
    found = pools(fleet("    tensor_parallel: 2\n"))["a"]
    assert (found.instance_types[0], found.gpus, found.node_gpus) == ("g6.12xlarge", 2, 4)
    assert found.resources.cpu == 23
    assert found.resources.memory_gib == int((192 * 0.92 - 2) / 2)


def test_a_model_larger_than_a_node_takes_several() -> None:
    (found,) = rendered(FLEETS["several-nodes"]).pools
    assert (found.nodes, found.gpus, found.instance_types) == (2, 8, ("p5en.48xlarge",))
    inputs = json.loads(rendered(FLEETS["several-nodes"]).files[TERRAFORM])
    assert inputs["leader_worker_set"] is True
    assert inputs["pools"]["deepseek"]["minimum"] == 2


def test_terraform_gets_families_and_a_ceiling_with_room_for_a_new_version() -> None:
    inputs = json.loads(rendered(FLEETS["scaled"]).files[TERRAFORM])
    assert inputs["accelerator_families"] == ["g6"]
    assert inputs["accelerator_limit"] == 5 + 5 + 2
    assert inputs["models"] == ["llama2", "mistral7b", "fixed"]


@pytest.mark.parametrize("name", FLEETS)
def test_terraform_knows_every_key(name: str) -> None:
    """install.sh refuses a key that no stack declares and no script reads."""
    stacks = Path(__file__).parents[3] / "deploy/terraform/stacks"
    declared = "\n".join(path.read_text() for path in stacks.glob("*/variables.tf"))
    keys = set(json.loads(rendered(FLEETS[name]).files[TERRAFORM])) - {"models", "pools", "hugging_face_token_required"}
    assert not [key for key in keys if f'variable "{key}"' not in declared]


def test_no_number_of_replicas_is_made_up_for_a_model_without_a_rule() -> None:
    found = rendered(FLEETS["two-pools"])
    assert "scaling" not in yaml.safe_load(found.files[VALUES])["pools"]["llama2"]
    assert any("nothing scales llama2, mistral7b" in note for note in found.notes)


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("models: [{name: a, source: ./weights}]", UsageError, "a: ./weights is a folder of this machine"),
        (
            "models: [{name: a, source: demo://llama2, devices: cpu}]\nrepository: {include: [./more]}",
            UsageError,
            "repository.include: ./more is a folder of this machine",
        ),
        (
            "models: [{name: a.b, source: s3://b/x}, {name: a-b, source: s3://b/x}]",
            UsageError,
            "would both be called 'a-b'",
        ),
        (fleet("    tensor_parallel: 16\n"), UsageError, "write tensor_parallel: 8 and a larger pipeline_parallel"),
        (
            fleet("    tensor_parallel: 8\n    pipeline_parallel: 2\n    pool: p\n", "    pool: p\n"),
            UsageError,
            "a is larger than a node, so it needs a pool of its own; the pool 'p' has more",
        ),
        (
            "models: [{name: a, source: s3://b/DeepSeek-V3}]",
            CapacityError,
            "pool a: no instance type",
        ),
    ],
)
def test_what_cannot_run_in_pods_is_refused(text: str, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said.replace(".", r"\.")):
        rendered(text)


def test_an_unknown_pool_is_met_with_the_near_one() -> None:
    with pytest.raises(UsageError, match="there is no pool 'lama2'; did you mean 'llama2'"):
        rendered(FLEETS["two-pools"], {"lama2": "g5.xlarge"})
    with pytest.raises(UsageError, match=r"g6\.xlarg' is not in the table of GPU instances; did you mean g6\.xlarge"):
        rendered(FLEETS["two-pools"], {"llama2": "g6.xlarg"})
    with pytest.raises(UsageError, match="run on the CPU"):
        rendered(FLEETS["cpu"], {"llama2": "g6.xlarge"})


def test_what_is_left_out_is_said() -> None:
    text = FLEETS["cpu"] + "runtimes: {triton: /opt/t/bin/tritonserver}\ndoors: {http: {port: 8100}}\n"
    notes = "\n".join(rendered(text).notes)
    assert "runtimes is left out" in notes
    assert "doors is left out" in notes


def test_names_become_kubernetes_names() -> None:
    assert kubernetes_name("Qwen.A_1") == "qwen-a-1"
    assert kubernetes_name("__") == "pool"
    assert len(kubernetes_name("x" * 63)) == 40


@given(fleets())
@settings(max_examples=25)
def test_any_fleet_stays_a_fleet_or_is_refused_in_our_words(data: dict[str, Any]) -> None:
    spec = FleetSpec.model_validate(data)
    try:
        found = cluster_spec(spec)
    except UsageError:
        return
    again = parse_spec(fleet_text(found))
    assert [model.name for model in again.models] == [model.name for model in spec.models]
    assert again.models == tuple(model.model_copy(update={"scaling": None}) for model in found.spec.models)
    assert {again.pool_of(model) for model in again.models} == set(found.replicas)


@given(st.sampled_from(supported_machines()), st.data())
def test_pods_that_share_a_node_fit_on_it(machine: Machine, data: st.DataObject) -> None:
    gpus = data.draw(st.sampled_from([n for n in (1, 2, 4, 8) if n <= len(machine.gpus)]))
    found = gpu_resources(machine, gpus, 10 * GIB)
    pods = len(machine.gpus) // gpus
    assert pods * found.cpu <= (machine.vcpus or 0) - 1
    assert pods * found.memory_gib <= (machine.host_bytes or 0) / GIB * 0.92
    assert 1 <= found.shared_gib <= found.memory_gib / 2


def test_stand_ins_have_the_same_gpus_and_cost_at_most_twice_as_much() -> None:
    machines = supported_machines()
    by_name = {machine.name: machine for machine in machines}
    for machine in machines:
        first, *others = stand_ins(machine, machines)
        assert first == machine.name
        for other in others:
            assert by_name[other].gpus == machine.gpus
            assert hourly(by_name[other]) <= 2 * hourly(machine)


def hourly(machine: Machine) -> float:
    """Return the price of an hour."""
    assert machine.price is not None
    return machine.price.usd_per_hour
