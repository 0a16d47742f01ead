"""Pods: what they run, how they start and end, what they may."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.deploy.helm.charts import CASES, Json, case_values, of_kind, render_case

pytestmark = pytest.mark.deploy


def pods(case: str) -> Iterator[tuple[str, Json]]:
    """Return name and template of every pod of a case."""
    text = render_case(case)
    for kind in ("Deployment", "Job"):
        for entry in of_kind(text, kind):
            yield f"{kind}/{entry['metadata']['name']}", entry["spec"]["template"]
    for entry in of_kind(text, "LeaderWorkerSet"):
        for part in ("leaderTemplate", "workerTemplate"):
            yield f"{part}/{entry['metadata']['name']}", entry["spec"]["leaderWorkerTemplate"][part]


def pod(case: str, name: str) -> Any:
    """Return the spec of one pod."""
    return dict(pods(case))[name]["spec"]


@pytest.mark.parametrize("case", CASES)
def test_pods_meet_the_restricted_standard(case: str) -> None:
    """The namespace enforces it (deploy/terraform/stacks/fleet): a pod that does not is never made."""
    for name, template in pods(case):
        spec = template["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert spec["automountServiceAccountToken"] is False, name
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False, name
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}, name
            assert container["securityContext"]["readOnlyRootFilesystem"] is True, name
        kinds = {next(key for key in volume if key != "name") for volume in spec["volumes"]}
        assert kinds <= {"configMap", "emptyDir", "secret", "ephemeral", "persistentVolumeClaim"}, name


@pytest.mark.parametrize("case", CASES)
def test_mounts_have_volumes_and_the_root_needs_no_writes(case: str) -> None:
    for name, template in pods(case):
        spec = template["spec"]
        volumes = {volume["name"] for volume in spec["volumes"]}
        mounted = {
            mount["name"]
            for container in [*spec["containers"], *spec.get("initContainers", [])]
            for mount in container["volumeMounts"]
        }
        assert mounted == volumes, name
        paths = {mount["mountPath"] for mount in spec["containers"][0]["volumeMounts"]}
        assert "/tmp" in paths, name


@pytest.mark.parametrize("case", CASES)
def test_selectors_find_their_pods_and_no_others(case: str) -> None:
    text = render_case(case)
    labels = {name: template["metadata"]["labels"] for name, template in pods(case)}
    wanted = [
        *((entry["metadata"]["name"], entry["spec"]["selector"]) for entry in of_kind(text, "Service")),
        *(
            (entry["metadata"]["name"], entry["spec"]["selector"]["matchLabels"])
            for entry in of_kind(text, "PodDisruptionBudget")
        ),
    ]
    for name, selector in wanted:
        found = [pod for pod, have in labels.items() if selector.items() <= have.items()]
        assert len(found) == 1, (name, found)
    for entry in of_kind(text, "Deployment"):
        assert (
            entry["spec"]["selector"]["matchLabels"].items() <= entry["spec"]["template"]["metadata"]["labels"].items()
        )


def test_a_pod_asks_for_what_the_plan_says() -> None:
    pool = case_values("eks-wide")["pools"]["llama3"]
    container = pod("eks-wide", "Deployment/guide-llama3")["containers"][0]
    assert container["resources"]["limits"] == {"memory": pool["resources"]["memory"], "nvidia.com/gpu": 4}
    assert container["resources"]["requests"]["cpu"] == pool["resources"]["cpu"]
    spec = pod("eks-wide", "Deployment/guide-llama3")
    terms = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert terms[0]["matchExpressions"][0]["values"] == ["g6e.12xlarge", "g6e.24xlarge"]
    assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in spec["tolerations"]


def test_a_pod_has_time_to_drain() -> None:
    """preStop, the drain that the spec asks for, the engines' stop, and air."""
    assert case_values("eks-shared")["fleet"]["lifecycle"]["drain_seconds"] == 300
    spec = pod("eks-shared", "Deployment/guide-qwen")
    assert spec["terminationGracePeriodSeconds"] == 15 + 300 + 15 + 15
    assert spec["containers"][0]["lifecycle"]["preStop"] == {"sleep": {"seconds": 15}}


def test_a_slow_start_is_no_dead_pod() -> None:
    container = pod("eks", "Deployment/guide-llama2")["containers"][0]
    startup = container["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 900 + 1800
    assert container["livenessProbe"]["httpGet"] == {"path": "/health/live", "port": "openai"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/health/ready", "port": "openai"}


def test_weights_go_through_the_bucket_and_only_the_copy_has_the_token() -> None:
    weights = "s3://guide-models-111122223333-us-west-2/models"
    text = render_case("eks")
    fleet = yaml.safe_load(
        next(entry for entry in of_kind(text, "ConfigMap") if entry["metadata"]["name"] == "guide-llama2")["data"][
            "fleet.yaml"
        ]
    )
    source = fleet["models"][0]["source"]
    assert source.startswith(f"{weights}/llama2-")
    (job,) = of_kind(text, "Job")
    assert job["spec"]["template"]["spec"]["serviceAccountName"] == "tritonfleet-model-copy"
    config = job["spec"]["template"]["spec"]["volumes"][0]["configMap"]["name"]
    table = next(entry for entry in of_kind(text, "ConfigMap") if entry["metadata"]["name"] == config)["data"]
    entries = {entry["name"]: entry for entry in yaml.safe_load(table["weights.json"])["weights"]}
    assert set(entries) == {"llama2", "mistral7b", "support"}
    assert entries["llama2"]["target"] == source
    assert entries["support"]["want"] == "adapter"
    tokens = {name for name, template in pods("eks") if "HF_TOKEN_FILE" in str(template)}
    assert tokens == {f"Job/{job['metadata']['name']}"}
    waits = pod("eks", "Deployment/guide-llama2")["initContainers"]
    assert [entry["args"][0] for entry in waits] == ["wait"]


def test_without_a_bucket_pods_read_the_hub_themselves() -> None:
    text = render_case("own-cluster")
    assert not of_kind(text, "Job")
    spec = pod("own-cluster", "Deployment/guide-llama2")
    assert "initContainers" not in spec
    assert {"name": "HF_TOKEN_FILE", "value": "/var/run/tritonfleet/token/token"} in spec["containers"][0]["env"]
    token = next(volume for volume in spec["volumes"] if volume["name"] == "token")
    assert token["secret"]["secretName"] == "hub"


def test_api_keys_are_asked_for_once_at_the_door() -> None:
    door = pod("eks-tls-keys", "Deployment/guide-door")
    assert "--keys" in door["containers"][0]["args"]
    assert "TRITONFLEET_KEYS" not in str(pod("eks-tls-keys", "Deployment/guide-llama2"))
    alone = pod("eks-one-pool", "Deployment/guide-chat")
    keys = {"name": "TRITONFLEET_KEYS", "value": "/var/run/tritonfleet/keys/keys.json"}
    assert keys in alone["containers"][0]["env"]


def test_a_model_larger_than_a_node_is_a_leader_and_its_workers() -> None:
    (found,) = of_kind(render_case("eks-nodes"), "LeaderWorkerSet")
    group = found["spec"]["leaderWorkerTemplate"]
    assert group["size"] == 2
    assert group["leaderTemplate"]["spec"]["containers"][0]["args"] == ["serve"]
    assert group["workerTemplate"]["spec"]["containers"][0]["args"] == ["worker"]
    config = next(
        entry
        for entry in of_kind(render_case("eks-nodes"), "ConfigMap")
        if entry["metadata"]["name"] == "guide-deepseek"
    )
    (model,) = yaml.safe_load(config["data"]["fleet.yaml"])["models"]
    assert model["engine_args"] == {"distributed_executor_backend": "ray"}


def test_a_new_chart_version_restarts_no_pod() -> None:
    for name, template in pods("eks"):
        assert "helm.sh/chart" not in template["metadata"]["labels"], name


def test_roles_of_the_terraform_find_their_accounts() -> None:
    """Pod Identity binds roles to these names (deploy/terraform/stacks/infrastructure/variables.tf)."""
    names = {entry["metadata"]["name"] for entry in of_kind(render_case("eks"), "ServiceAccount")}
    assert {"tritonfleet", "tritonfleet-model-copy"} <= names


def test_install_sh_finds_the_logs_of_a_model() -> None:
    """It tells people to ask for -l tritonfleet.io/model=NAME."""
    labels = dict(pods("eks"))["Deployment/guide-llama2"]["metadata"]["labels"]
    assert labels["tritonfleet.io/model"] == "llama2"
    together = dict(pods("eks-one-pool"))["Deployment/guide-chat"]["metadata"]["labels"]
    assert together["model.tritonfleet.io/llama2"] == together["model.tritonfleet.io/mistral7b"] == "true"
