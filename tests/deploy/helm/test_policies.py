"""Policies over the rendered objects: our own in Rego, and checkov's, with a reason for each exception."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from regopy import Interpreter

from tests.deploy.helm.charts import CASES, Json, objects, render_case

pytestmark = pytest.mark.deploy

POLICY = Path(__file__).with_name("policy.rego")
DOCKERFILE = Path(__file__).parents[3] / "deploy/image/Dockerfile"

#: checkov's rules that do not hold here, and why.
EXCEPTIONS = {
    "CKV_K8S_11": "no CPU limit: throttling a server that waits for a GPU makes tokens late and saves nothing",
    "CKV_K8S_43": "no digest by default: the images are built by whoever deploys; values take name@sha256:...",
    "CKV_K8S_15": "not Always: tags are exact, and a pod must start while the registry is away",
}
DOCKER_EXCEPTIONS = {"CKV_DOCKER_2": "no HEALTHCHECK: Kubernetes ignores it and has the chart's probes"}


def breaches(found: list[Json]) -> list[str]:
    """Return the sentences of the policy for *found*."""
    rego = Interpreter()
    rego.add_module("fleet", POLICY.read_text())
    rego.set_input({"objects": found})
    answer: Any = json.loads(str(rego.query("data.fleet.deny")))
    return sorted(answer["expressions"][0])


@pytest.mark.parametrize("case", CASES)
def test_objects_meet_our_policies(case: str) -> None:
    assert breaches(list(objects(render_case(case)))) == []


def test_our_policies_see_a_breach() -> None:
    found = copy.deepcopy(list(objects(render_case("eks"))))
    for entry in found:
        if entry["kind"] == "Service" and entry["metadata"]["name"] == "guide-llama2":
            entry["spec"]["type"] = "LoadBalancer"
        if entry["kind"] == "Deployment" and entry["metadata"]["name"] == "guide-llama2":
            container = entry["spec"]["template"]["spec"]["containers"][0]
            container["image"] = "tritonfleet:latest"
            container["resources"]["requests"]["memory"] = "1Gi"
            container["env"].append({"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "x", "key": "token"}}})
            volumes = entry["spec"]["template"]["spec"]["volumes"]
            volumes.append({"name": "host", "hostPath": {"path": "/"}})
            volumes.append({"name": "memory", "emptyDir": {"medium": "Memory"}})
        if entry["kind"] == "NetworkPolicy" and entry["metadata"]["name"] == "guide-model-copy":
            entry["spec"]["egress"][1]["ports"].append({"protocol": "TCP", "port": 22})
    found.append({"kind": "Secret", "metadata": {"name": "token"}})
    assert breaches(found) == [
        "Service guide-llama2 is of type LoadBalancer",
        "guide-llama2: a request of memory below the limit",
        "guide-llama2: the image tritonfleet:latest has no fixed version",
        "guide-llama2: the variable HF_TOKEN comes from a Secret",
        "guide-llama2: the volume host is of the host",
        "guide-llama2: the volume memory has no bound",
        "guide-model-copy lets 22 out",
        "token carries a Secret's data",
    ]


@pytest.mark.timeout(180)
@pytest.mark.parametrize("case", ["eks-keda", "eks-one-pool"])
def test_checkov_finds_only_what_is_explained(case: str, tmp_path: Path) -> None:
    path = tmp_path / "rendered.yaml"
    path.write_text(render_case(case))
    assert checkov(path, "kubernetes") == set(EXCEPTIONS)


@pytest.mark.timeout(180)
def test_checkov_finds_nothing_more_in_the_dockerfile() -> None:
    assert checkov(DOCKERFILE, "dockerfile") == set(DOCKER_EXCEPTIONS)


def checkov(path: Path, framework: str) -> set[str]:
    """Return the rules of checkov that *path* breaks; an exception that is no longer one shows as well."""
    program = Path(sys.prefix) / "checkov/bin/checkov"
    if not program.exists():
        pytest.fail(f"{program} is missing: `make test-deploy` installs it")
    argv = [str(program), "--file", str(path), "--framework", framework, "--skip-download", "--output", "json"]
    result = subprocess.run([*argv, "--compact", "--quiet"], capture_output=True, text=True, timeout=170)
    report = json.loads(result.stdout)
    assert report["summary"]["parsing_errors"] == 0
    assert report["summary"]["passed"] > 50
    return {entry["check_id"] for entry in report["results"]["failed_checks"]}
