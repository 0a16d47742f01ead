"""The real Terraform, against stub providers that serve the real providers' schemas."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
TERRAFORM = ROOT / "deploy" / "terraform"
OFFLINE = ROOT / "scripts" / "terraform_offline"
STACKS = ("infrastructure", "platform", "fleet")

ACCOUNT = "111122223333"
REGION = "us-west-2"
# What AWS would answer; everything else that a data source says is a placeholder.
ANSWERS = {
    "aws_caller_identity": {"account_id": ACCOUNT},
    "aws_partition": {"partition": "aws"},
    "aws_region": {"region": REGION},
}

Json = dict[str, Any]


def load(name: str) -> ModuleType:
    """Import one of the offline scripts, which are no package."""
    if str(OFFLINE) not in sys.path:
        sys.path.insert(0, str(OFFLINE))
    spec = importlib.util.spec_from_file_location(name, OFFLINE / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@dataclass(frozen=True)
class Resource:
    """One planned resource: its address, type and the values that are known before the apply."""

    address: str
    type: str
    values: Json


@dataclass(frozen=True)
class Plan:
    """A plan as Terraform shows it in JSON."""

    document: Json

    @property
    def resources(self) -> list[Resource]:
        return [
            Resource(item["address"], item["type"], item["change"]["after"] or {})
            for item in self.document["resource_changes"]
            if item["mode"] == "managed"
        ]

    def of_type(self, kind: str) -> list[Resource]:
        return [resource for resource in self.resources if resource.type == kind]

    def one(self, address: str) -> Resource:
        return next(resource for resource in self.resources if resource.address == address)

    def objects(self) -> list[Json]:
        """Every Kubernetes object that the plan's releases of the objects chart hold."""
        found: list[Json] = []
        for release in self.of_type("helm_release"):
            if str(release.values["chart"]).endswith("charts/objects"):
                found += yaml.safe_load(release.values["values"][0])["objects"]
        return found


class Terraform:
    """Runs Terraform in a stack's folder, with all that it writes elsewhere."""

    def __init__(self, binary: str, environment: dict[str, str], scratch: Path) -> None:
        self.binary = binary
        self.environment = environment
        self.scratch = scratch
        self.started: set[str] = set()

    def run(self, stack: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one command in a stack, initialised on first use."""
        if stack not in self.started:
            self.started.add(stack)
            done = self._call(stack, "init", "-backend=false", "-no-color")
            assert done.returncode == 0, done.stderr
        return self._call(stack, *arguments)

    def _call(self, stack: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.binary, *arguments],
            cwd=TERRAFORM / "stacks" / stack,
            env={**os.environ, **self.environment, "TF_DATA_DIR": str(self.scratch / stack)},
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )

    def plan(self, stack: str, variables: Json) -> Plan:
        """Plan a stack from nothing; the plan must succeed."""
        values = self.scratch / f"{stack}.tfvars.json"
        values.write_text(json.dumps(variables))
        out = self.scratch / f"{stack}.tfplan"
        state = self.scratch / f"{stack}.tfstate"
        planned = self.run(
            stack, "plan", "-no-color", "-input=false", f"-var-file={values}", f"-state={state}", f"-out={out}"
        )
        assert planned.returncode == 0, planned.stderr
        shown = self.run(stack, "show", "-json", str(out))
        assert shown.returncode == 0, shown.stderr
        return Plan(json.loads(shown.stdout))


@pytest.fixture(scope="session")
def found() -> Json:
    """Terraform, schemas and packages; skipped, with the reason, where they cannot be had."""
    prepare = load("prepare")
    try:
        result: Json = prepare.prepare(prepare.default_cache())
    except prepare.Unavailable as err:
        pytest.skip(f"offline Terraform is not available here: {err}")
    return result


@pytest.fixture(scope="session")
def terraform(found: Json, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terraform]:
    with load("offline").providers(found, ANSWERS) as environment:
        yield Terraform(found["terraform"], environment, tmp_path_factory.mktemp("terraform"))


INFRASTRUCTURE: Json = {
    "region": REGION,
    "zones": ["us-west-2a", "us-west-2b"],
    "admin_principal_arns": [f"arn:aws:iam::{ACCOUNT}:role/admin"],
    "system_node_release_version": "1.36.2-20260714",
    "addon_versions": {
        "vpc-cni": "v1.20.4-eksbuild.2",
        "kube-proxy": "v1.36.0-eksbuild.2",
        "coredns": "v1.13.1-eksbuild.1",
        "eks-pod-identity-agent": "v1.3.9-eksbuild.3",
        "aws-ebs-csi-driver": "v1.50.1-eksbuild.1",
        "metrics-server": "v0.8.0-eksbuild.2",
        "amazon-cloudwatch-observability": "v4.4.0-eksbuild.1",
    },
    "cloudwatch_observability": True,
    "secret_versions": {"grafana-admin": 1, "hugging-face-token": 1},
    "monthly_budget_usd": 500,
    "budget_emails": ["ops@example.com"],
    "budget_cost_allocation_tag": "tritonfleet.io/fleet=tritonfleet",
}

CLUSTER: Json = {
    "cluster_name": "tritonfleet",
    "cluster_endpoint": "https://mock.eks.amazonaws.com",
    "cluster_certificate_authority": "bW9jaw==",
    "secret_names": {"grafana-admin": "tritonfleet/grafana-admin"},
}

PLATFORM: Json = {
    "region": REGION,
    "accelerator_families": ["g5", "g6", "g6e", "p4d", "p5", "inf2", "trn1"],
    "leader_worker_set": True,
    "infrastructure": {
        **CLUSTER,
        "cluster_security_group_id": "sg-0123456789abcdef0",
        "vpc_id": "vpc-0123456789abcdef0",
        "private_subnet_ids": ["subnet-0a", "subnet-0b"],
        "node_instance_profile": "tritonfleet-karpenter-node",
        "interruption_queue": "tritonfleet-interruptions",
    },
}


@pytest.fixture(scope="session")
def infrastructure(terraform: Terraform, tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """The infrastructure with every option on and a model repository of two files."""
    repository = tmp_path_factory.mktemp("repository")
    (repository / "llama2" / "1").mkdir(parents=True)
    (repository / "llama2" / "config.pbtxt").write_text('backend: "vllm"\n')
    (repository / "llama2" / "1" / "model.json").write_text("{}\n")
    return terraform.plan("infrastructure", INFRASTRUCTURE | {"model_repository_directory": str(repository)})


@pytest.fixture(scope="session")
def platform(terraform: Terraform) -> Plan:
    """The platform with every kind of accelerator."""
    return terraform.plan("platform", PLATFORM)


@pytest.fixture(scope="session")
def fleet(terraform: Terraform, tmp_path_factory: pytest.TempPathFactory) -> Plan:
    rendered = TERRAFORM / "stacks" / "fleet" / "tests" / "rendered"
    variables = {
        "region": REGION,
        "chart": str(ROOT / "deploy" / "helm" / "tritonfleet"),
        "values_file": str(rendered / "values.yaml"),
        "dashboards_directory": str(rendered / "dashboards"),
        "infrastructure": {
            **CLUSTER,
            "model_bucket": "b",
            "model_repository_url": "s3://b/r",
            "weights_url": "s3://b/w",
        },
        "platform": {
            "secret_store": "tritonfleet",
            "prometheus_url": "http://prometheus:9090",
            "autoscaler": "keda",
            "front": "nginx-gateway-fabric",
        },
    }
    return terraform.plan("fleet", variables)
