"""The chart through the real Helm engine, for a matrix of values."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import yaml
from helm_python.chart import Chart

from tests.deploy.fleets import FLEETS, rendered

CHART = Path(__file__).parents[3] / "deploy/helm/tritonfleet"
RELEASE = "guide"
NAMESPACE = "models"

Json = dict[str, Any]

#: What Terraform lays on top (deploy/terraform/stacks/fleet/main.tf).
AWS: Json = {
    "region": "us-west-2",
    "modelBucket": "guide-models-111122223333-us-west-2",
    "modelRepositoryUrl": "s3://guide-models-111122223333-us-west-2/model_repository",
    "weightsUrl": "s3://guide-models-111122223333-us-west-2/models",
    "secretStore": "tritonfleet",
    "secrets": {"grafana-admin": "guide/grafana-admin", "hugging-face-token": "guide/hugging-face-token"},
    "prometheusUrl": "http://kube-prometheus-stack-prometheus.monitoring:9090",
    "autoscaler": "keda",
    "front": "nginx-gateway-fabric",
}

#: Fleet, and values on top.
CASES: dict[str, tuple[str, Json]] = {
    "eks": ("two-pools", {"aws": AWS, "image": {"registry": "111122223333.dkr.ecr.us-west-2.amazonaws.com"}}),
    "eks-one-pool": ("one-pool", {"aws": AWS, "apiKeysSecret": "api-keys"}),
    "eks-keda": ("scaled", {"aws": AWS}),
    "eks-adapter-ingress": ("scaled", {"aws": AWS | {"autoscaler": "prometheus-adapter", "front": "ingress-nginx"}}),
    "eks-tls-keys": (
        "two-pools",
        {
            "aws": AWS,
            "apiKeysSecret": "api-keys",
            "front": {"certificateArn": "arn:aws:acm:us-west-2:111122223333:certificate/a", "host": "llm.example.com"},
        },
    ),
    "eks-nodes": ("several-nodes", {"aws": AWS}),
    "eks-wide": ("several-gpus", {"aws": AWS, "weights": {"copy": False}, "cache": {"kind": "ephemeral"}}),
    "eks-shared": ("shared", {"aws": AWS, "image": {"pullSecrets": ["registry"]}}),
    "own-cluster": (
        "two-pools",
        {
            "front": {"kind": "none"},
            "autoscaler": "none",
            "metrics": {"enabled": False, "dashboards": False},
            "networkPolicy": {"enabled": False},
            "huggingFace": {"existingSecret": "hub"},
            "cache": {"kind": "claim", "claim": "weights"},
            "scheduling": {"gpu": {"nodeSelector": {"tritonfleet.io/accelerator": None}}, "priorityClassName": "high"},
        },
    ),
    "cpu": ("cpu", {"front": {"kind": "none"}}),
}


@cache
def chart() -> Chart:
    """Return the chart, loaded."""
    return Chart.load(str(CHART))


def values_of(fleet: str) -> Json:
    """Return the values that `deploy render` writes for one of FLEETS."""
    found: Json = yaml.safe_load(rendered(FLEETS[fleet]).files[PurePosixPath("values.yaml")])
    return found


def case_values(name: str) -> Json:
    """Return the whole values of one of CASES."""
    fleet, extra = CASES[name]
    return merged(values_of(fleet), extra)


def merged(base: Json, extra: Json) -> Json:
    """Lay *extra* over *base*, as Helm does with values files."""
    result = copy.deepcopy(base)
    for key, value in extra.items():
        inner = result.get(key)
        result[key] = merged(inner, value) if isinstance(value, dict) and isinstance(inner, dict) else value
    return result


def render(values: Json, *, release: str = RELEASE) -> str:
    """Return the manifests as one YAML text; NOTES.txt and empty templates are left out."""
    files = chart().render(values, name=release, namespace=NAMESPACE)
    parts = [
        text.strip("\n") for path, text in sorted(files.items()) if not path.endswith("NOTES.txt") and text.strip()
    ]
    return "\n".join(part if part.startswith("---") else f"---\n{part}" for part in parts) + "\n"


@cache
def render_case(name: str) -> str:
    """Return the manifests of one of CASES."""
    return render(case_values(name))


@cache
def objects(text: str) -> tuple[Json, ...]:
    """Return the objects of a manifest; a key that is there twice is an error."""
    return tuple(entry for entry in yaml.load_all(text, Loader=_Strict) if entry)


def of_kind(text: str, kind: str) -> list[Json]:
    """Return the objects of one kind."""
    return [entry for entry in objects(text) if entry["kind"] == kind]


class _Strict(yaml.CSafeLoader):
    """Refuses a key that is there twice, as Kubernetes does."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"twice in line {node.start_mark.line}: {keys}"
        return super().construct_mapping(node, deep)
