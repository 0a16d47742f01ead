"""What the plans of the platform and of the fleet hold: charts, node pools, monitoring."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from .conftest import PLATFORM, Json, Plan, Terraform

pytestmark = pytest.mark.deploy


def by_kind(plan: Plan, kind: str) -> dict[str, Json]:
    return {item["metadata"]["name"]: item for item in plan.objects() if item["kind"] == kind}


def values(plan: Plan, release: str) -> Json:
    found = next(item for item in plan.of_type("helm_release") if item.values["name"] == release)
    result: Json = yaml.safe_load(found.values["values"][0])
    return result


def test_every_chart_is_pinned(platform: Plan) -> None:
    """Charts from elsewhere have an exact version and a TLS or OCI source."""
    charts = [item for item in platform.of_type("helm_release") if item.values.get("repository")]
    assert len(charts) >= 11
    for chart in charts:
        assert re.fullmatch(r"\d+\.\d+\.\d+", chart.values["version"]), chart.address
        assert re.match("https://|oci://", chart.values["repository"]), chart.address


def test_no_floating_image(platform: Plan) -> None:
    """No object names an image without a version, or @latest."""
    text = json.dumps(platform.objects())
    images = re.findall(r'"image": "([^"]+)"', text)
    assert images
    assert all(re.search(r":\d[\w.-]*$", image) for image in images)
    assert "latest" not in text


def test_a_pool_for_each_family(platform: Plan) -> None:
    """Each family has its pool, tainted for its devices, with a ceiling on them."""
    pools = by_kind(platform, "NodePool")
    assert set(pools) == {"general", *PLATFORM["accelerator_families"]}
    for family in PLATFORM["accelerator_families"]:
        spec = pools[family]["spec"]
        device = "aws.amazon.com/neuron" if family in ("inf2", "trn1") else "nvidia.com/gpu"
        assert spec["limits"] == {device: "8"}
        assert spec["template"]["spec"]["taints"] == [{"key": device, "value": "present", "effect": "NoSchedule"}]
        assert {"key": "karpenter.k8s.aws/instance-family", "operator": "In", "values": [family]} in spec["template"][
            "spec"
        ]["requirements"]


def test_pools_span_zones(platform: Plan) -> None:
    """No pool is held to one zone: its class has every subnet and its requirements name none."""
    for node_class in by_kind(platform, "EC2NodeClass").values():
        assert len(node_class["spec"]["subnetSelectorTerms"]) == 2
    for pool in by_kind(platform, "NodePool").values():
        keys = {item["key"] for item in pool["spec"]["template"]["spec"]["requirements"]}
        assert "topology.kubernetes.io/zone" not in keys


def test_a_loaded_model_keeps_its_node(platform: Plan) -> None:
    """An accelerator node goes only when empty, one at a time; a stuck pod cannot hold it for ever."""
    for name, pool in by_kind(platform, "NodePool").items():
        if name != "general":
            assert pool["spec"]["disruption"] == {
                "consolidationPolicy": "WhenEmpty",
                "consolidateAfter": "10m",
                "budgets": [{"nodes": "1"}],
            }
            assert pool["spec"]["template"]["spec"]["terminationGracePeriod"] == "1h"


def test_nodes_are_guarded(platform: Plan) -> None:
    """IMDSv2, one hop; encrypted disks; a pinned image."""
    classes = by_kind(platform, "EC2NodeClass")
    assert set(classes) == {"general", "nvidia", "neuron"}
    for node_class in classes.values():
        spec = node_class["spec"]
        assert spec["metadataOptions"] == {
            "httpEndpoint": "enabled",
            "httpTokens": "required",
            "httpPutResponseHopLimit": 1,
        }
        assert all(item["ebs"]["encrypted"] for item in spec["blockDeviceMappings"])
        assert spec["amiSelectorTerms"] == [{"alias": "al2023@v20260714"}]


def test_cold_start_is_short(platform: Plan) -> None:
    """Accelerator nodes pull images in parallel, onto NVMe where they have it, else onto a fast volume."""
    for kind in ("nvidia", "neuron"):
        spec = by_kind(platform, "EC2NodeClass")[kind]["spec"]
        assert spec["instanceStorePolicy"] == "RAID0"
        assert yaml.safe_load(spec["userData"])["spec"]["featureGates"] == {"FastImagePull": True}
        assert spec["blockDeviceMappings"][0]["ebs"]["throughput"] == 1000


def test_karpenter_accepts_the_objects(platform: Plan, found: Json, tmp_path: Path) -> None:
    """Karpenter's own resource types take every field (compiler) and every value (validator)."""
    objects = [item for item in platform.objects() if item["kind"] in ("EC2NodeClass", "NodePool")]
    groups = {"EC2NodeClass": "karpenter.k8s.aws", "NodePool": "karpenter.sh"}
    lines = [
        f'import {{ {kind} }} from "@kubernetes-models/karpenter/{group}/v1/{kind}";' for kind, group in groups.items()
    ]
    for item in objects:
        body = {key: value for key, value in item.items() if key not in ("apiVersion", "kind")}
        lines.append(f"new {item['kind']}({json.dumps(body)}).validate();")
    assert len(objects) == 11
    check_types(found, tmp_path, lines)


def test_karpenter_types_refuse_a_misspelt_field(found: Json, tmp_path: Path) -> None:
    """The check above can fail: the field placement of Karpenter's v1beta1 is refused."""
    lines = [
        'import { NodePool } from "@kubernetes-models/karpenter/karpenter.sh/v1/NodePool";',
        'new NodePool({ metadata: { name: "x" }, spec: { disruption: { consolidateAfter: "1m", expireAfter: "1h" }, '
        'template: { spec: { nodeClassRef: { group: "g", kind: "k", name: "n" }, requirements: [] } } } });',
    ]
    with pytest.raises(AssertionError, match="expireAfter"):
        check_types(found, tmp_path, lines)


def check_types(found: Json, folder: Path, lines: list[str]) -> None:
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "node_modules").symlink_to(Path(found["node"]) / "node_modules")
    (folder / "check.ts").write_text("\n".join(lines))
    compiler = Path(found["node"]) / "node_modules/typescript/bin/tsc"
    options = [
        "--strict",
        "--skipLibCheck",
        "--module",
        "nodenext",
        "--moduleResolution",
        "nodenext",
        "--target",
        "es2022",
    ]
    for command in (["node", str(compiler), *options, "check.ts"], ["node", "check.js"]):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_grafana_password_comes_from_the_store(platform: Plan) -> None:
    """The password is in no value: an ExternalSecret brings it."""
    secret = by_kind(platform, "ExternalSecret")["grafana-admin"]
    assert secret["spec"]["dataFrom"] == [{"extract": {"key": "tritonfleet/grafana-admin"}}]
    assert secret["spec"]["secretStoreRef"]["name"] == "tritonfleet"
    grafana = values(platform, "kube-prometheus-stack")["grafana"]
    assert grafana["admin"]["existingSecret"] == secret["spec"]["target"]["name"]
    assert "adminPassword" not in grafana


def test_store_is_for_two_namespaces(platform: Plan) -> None:
    """A pod of another namespace cannot ask the store for the token."""
    store = by_kind(platform, "ClusterSecretStore")["tritonfleet"]
    assert store["spec"]["conditions"] == [{"namespaces": ["monitoring", "tritonfleet"]}]
    assert "auth" not in store["spec"]["provider"]["aws"], "Pod Identity, not a key"


def test_prometheus_takes_every_monitor(platform: Plan) -> None:
    """The chart's default selects only its own release's monitors."""
    spec = values(platform, "kube-prometheus-stack")["prometheus"]["prometheusSpec"]
    for kind in ("podMonitor", "serviceMonitor", "rule", "probe", "scrapeConfig"):
        assert spec[f"{kind}SelectorNilUsesHelmValues"] is False
    size = spec["storageSpec"]["volumeClaimTemplate"]["spec"]["resources"]["requests"]["storage"]
    assert float(spec["retentionSize"].removesuffix("GiB")) < float(size.removesuffix("Gi"))


def test_neuron_parts_come_with_neuron_pools(terraform: Terraform, platform: Plan) -> None:
    """A fleet without Inferentia or Trainium installs nothing for them."""
    names = {item.values["name"] for item in platform.of_type("helm_release")}
    assert {"neuron", "neuron-monitor", "nvidia-device-plugin", "dcgm-exporter", "lws"} <= names
    small = terraform.plan("platform", PLATFORM | {"accelerator_families": ["g6"], "leader_worker_set": False})
    names = {item.values["name"] for item in small.of_type("helm_release")}
    assert not names & {"neuron", "neuron-monitor", "lws"}


def test_one_owner_of_dcgm(terraform: Terraform) -> None:
    """With CloudWatch's agents on the nodes, no second exporter opens the GPUs."""
    plan = terraform.plan("platform", PLATFORM | {"cloudwatch_observability": True})
    names = {item.values["name"] for item in plan.of_type("helm_release")}
    assert not names & {"dcgm-exporter", "neuron-monitor"}
    assert "nvidia-device-plugin" in names


@pytest.mark.parametrize(
    ("choice", "there", "absent"),
    [
        ({"autoscaler": "prometheus-adapter"}, "prometheus-adapter", "keda"),
        ({"front": "ingress-nginx"}, "ingress-nginx", "nginx-gateway-fabric"),
    ],
)
def test_choices_exclude_each_other(terraform: Terraform, choice: Json, there: str, absent: str) -> None:
    """The alternative replaces the default."""
    plan = terraform.plan("platform", PLATFORM | choice)
    names = {item.values["name"] for item in plan.of_type("helm_release")}
    assert there in names
    assert absent not in names


def test_fleet_namespace_is_restricted(fleet: Plan) -> None:
    """Pod Security refuses a privileged pod in the fleet's namespace."""
    labels = by_kind(fleet, "Namespace")["tritonfleet"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_dashboards_and_rules_are_delivered(fleet: Plan) -> None:
    """A rendered dashboard is a ConfigMap that Grafana's sidecar takes, unchanged; rules are a PrometheusRule."""
    dashboard = by_kind(fleet, "ConfigMap")["tritonfleet-fleet"]
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(dashboard["data"]["fleet.json"])["templating"] == "{{model}}"
    rules = by_kind(fleet, "PrometheusRule")["tritonfleet-alerts"]
    assert rules["spec"]["groups"][0]["rules"][0]["alert"] == "ModelDown"


def test_failed_model_stays_to_be_looked_at(fleet: Plan) -> None:
    """The release is not rolled back when one model does not come up: the others keep serving."""
    release = next(item for item in fleet.of_type("helm_release") if item.values["name"] == "tritonfleet")
    assert release.values["atomic"] is False
    assert release.values["wait"] is True
