"""Every manifest of every case: as reviewed, valid for Kubernetes 1.36, valid for its custom resource's schema."""

from __future__ import annotations

import copy
import json
from functools import cache
from pathlib import Path

import helm_python.chart
import jsonschema  # type: ignore[import-untyped]
import kubernetes_validate
import pytest

from tests.deploy.helm.charts import CASES, CHART, Json, case_values, objects, render_case
from tests.deploy.update import GOLDEN_CASES, MANIFESTS, golden_manifests
from tritonfleet.spec import parse_spec

pytestmark = pytest.mark.deploy

KUBERNETES = "1.36"
CRDS = Path(__file__).parents[1] / "crds"
#: Groups of Kubernetes itself.
CORE = frozenset({"v1", "apps/v1", "batch/v1", "policy/v1", "networking.k8s.io/v1", "autoscaling/v2"})


@pytest.mark.parametrize("case", GOLDEN_CASES)
def test_manifests_are_the_reviewed_ones(case: str) -> None:
    assert golden_manifests(case) == (MANIFESTS / f"{case}.yaml").read_text(), "python -m tests.deploy.update"


@pytest.mark.parametrize("case", CASES)
def test_helm_finds_nothing(case: str) -> None:
    found = helm_python.chart.lint(str(CHART), values=case_values(case))
    assert not found["errors"]
    assert [message["error"] for message in found["messages"]] == ["icon is recommended"]


@pytest.mark.parametrize("case", CASES)
def test_every_object_fits_its_schema(case: str) -> None:
    for entry in objects(render_case(case)):
        if entry["apiVersion"] in CORE:
            kubernetes_validate.validate(entry, KUBERNETES, strict=True)
        else:
            crd_schema(entry["apiVersion"], entry["kind"]).validate(entry)


@pytest.mark.parametrize("case", CASES)
def test_names_are_unique_and_the_namespace_is_given(case: str) -> None:
    found = objects(render_case(case))
    keys = [(entry["kind"], entry["metadata"]["name"]) for entry in found]
    assert len(keys) == len(set(keys))
    assert {entry["metadata"]["namespace"] for entry in found} == {"models"}
    assert "Namespace" not in {entry["kind"] for entry in found}, "the Terraform makes it, with its labels"


@pytest.mark.parametrize("case", CASES)
def test_a_pods_fleet_is_a_fleet(case: str) -> None:
    values = case_values(case)
    configs = {
        entry["metadata"]["name"]: entry["data"]
        for entry in objects(render_case(case))
        if entry["kind"] == "ConfigMap" and "fleet.yaml" in entry["data"]
    }
    assert len(configs) == len(values["pools"])
    for name, pool in values["pools"].items():
        spec = parse_spec(configs[f"guide-{name}"]["fleet.yaml"])
        assert sorted(model.name for model in spec.models) == sorted(pool["models"])
        assert {model.pool for model in spec.models} == {name}
        assert spec.name == values["fleet"]["name"]
        assert {door.host for _, door in spec.doors} == {"0.0.0.0"}


def test_large_numbers_stay_whole_numbers() -> None:
    config = next(entry for entry in objects(render_case("eks")) if entry["metadata"]["name"] == "guide-llama2")
    assert parse_spec(config["data"]["fleet.yaml"]).gateway.max_held_bytes == 4 * 2**30


def test_a_schema_refuses_what_it_does_not_know() -> None:
    """The strictness that the other tests rely on."""
    gateway = copy.deepcopy(next(entry for entry in objects(render_case("eks")) if entry["kind"] == "Gateway"))
    gateway["spec"]["listener"] = gateway["spec"].pop("listeners")
    with pytest.raises(jsonschema.ValidationError, match="listener"):
        crd_schema(gateway["apiVersion"], "Gateway").validate(gateway)


@cache
def crd_schema(api_version: str, kind: str) -> jsonschema.Draft202012Validator:
    """Return the validator of a custom resource."""
    group, _, version = api_version.partition("/")
    schema: Json = json.loads((CRDS / f"{kind}.{group}.{version}.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)
