"""The way in and out: routes, policies, scrapes, autoscalers."""

from __future__ import annotations

import json

import pytest

from tests.deploy.helm.charts import CASES, CHART, Json, case_values, of_kind, render, render_case
from tritonfleet.client.grpc_door import MODEL_HEADER
from tritonfleet.gateway.app import KINDS

pytestmark = pytest.mark.deploy

#: What manages a server, and must not be reachable from outside.
ADMIN = ("repository", "trace", "logging", "shared", "Repository", "Trace", "Log", "Shared")


def backends(route: Json) -> set[tuple[str, int]]:
    """Return service and port of every backend of a route."""
    return {(ref["name"], ref["port"]) for rule in route["spec"]["rules"] for ref in rule["backendRefs"]}


def route(case: str, kind: str, model: str) -> Json:
    """Return the route of one model."""
    return next(
        entry
        for entry in of_kind(render_case(case), kind)
        if entry["metadata"]["labels"].get("tritonfleet.io/model") == model
    )


@pytest.mark.parametrize("case", CASES)
def test_routes_lead_to_ports_that_services_have(case: str) -> None:
    text = render_case(case)
    ports = {
        (entry["metadata"]["name"], port["port"])
        for entry in of_kind(text, "Service")
        for port in entry["spec"]["ports"]
    }
    for kind in ("HTTPRoute", "GRPCRoute"):
        for entry in of_kind(text, kind):
            assert backends(entry) <= ports


@pytest.mark.parametrize("case", ["eks", "eks-one-pool", "eks-adapter-ingress"])
def test_what_manages_triton_is_not_reachable(case: str) -> None:
    text = render_case(case)
    paths = [
        json.dumps(rule)
        for kind in ("HTTPRoute", "GRPCRoute", "Ingress")
        for entry in of_kind(text, kind)
        for rule in entry["spec"]["rules"]
    ]
    assert paths
    assert not [path for path in paths for word in ADMIN if word in path]
    prefixes = [
        match["path"]["value"]
        for entry in of_kind(text, "HTTPRoute")
        for rule in entry["spec"]["rules"]
        for match in rule["matches"]
        if match["path"]["type"] == "PathPrefix"
    ]
    assert not [prefix for prefix in prefixes if prefix.startswith("/v2") and prefix != "/v2/rerank"]


def test_each_model_leads_to_its_pool() -> None:
    for model in ("llama2", "mistral7b"):
        assert backends(route("eks", "HTTPRoute", model)) == {(f"guide-{model}", 8000)}
        paths = [match["path"]["value"] for match in route("eks", "HTTPRoute", model)["spec"]["rules"][0]["matches"]]
        assert f"/v2/models/{model}/generate_stream" in paths
        grpc = route("eks", "GRPCRoute", model)
        assert backends(grpc) == {(f"guide-{model}", 8001)}
        for match in grpc["spec"]["rules"][0]["matches"]:
            assert match["headers"] == [{"type": "Exact", "name": MODEL_HEADER, "value": model}]


def test_openai_requests_go_to_the_door_of_several_pools_and_to_the_pod_of_one() -> None:
    def openai(case: str) -> Json:
        return next(
            entry for entry in of_kind(render_case(case), "HTTPRoute") if entry["metadata"]["name"] == "guide-openai"
        )

    assert backends(openai("eks")) == {("guide-door", 9000)}
    assert backends(openai("eks-one-pool")) == {("guide-chat", 9000)}


def test_every_path_of_the_openai_door_is_let_through_and_nothing_else_of_it() -> None:
    route = next(
        entry for entry in of_kind(render_case("eks"), "HTTPRoute") if entry["metadata"]["name"] == "guide-openai"
    )
    prefixes = [match["path"]["value"] for match in route["spec"]["rules"][0]["matches"]]
    for kind in KINDS:
        assert any(kind.path == prefix or kind.path.startswith(f"{prefix}/") for prefix in prefixes), kind.path
    assert not [prefix for prefix in prefixes if prefix.startswith(("/metrics", "/console"))]


def test_the_door_knows_every_model_and_where_its_pods_are() -> None:
    config = next(entry for entry in of_kind(render_case("eks"), "ConfigMap") if "door.json" in entry["data"])
    table = json.loads(config["data"]["door.json"])
    services = {entry["metadata"]["name"]: entry for entry in of_kind(render_case("eks"), "Service")}
    assert {entry["model"] for entry in table["models"]} == {"llama2", "mistral7b"}
    for entry in table["models"]:
        assert services[entry["service"]]["spec"]["clusterIP"] == "None"
    assert table["models"][1]["loras"] == ["support"]
    assert table["fleet"] == "guide", "the label of its metrics"
    assert table["gateway"] == {"max_waiting": 64, "max_held_bytes": 4 * 2**30}


def test_the_balancer_is_internal_and_made_by_the_controller() -> None:
    (gateway,) = of_kind(render_case("eks"), "Gateway")
    (proxy,) = of_kind(render_case("eks"), "NginxProxy")
    annotations = gateway["spec"]["infrastructure"]["annotations"]
    prefix = "service.beta.kubernetes.io/aws-load-balancer"
    assert annotations[f"{prefix}-scheme"] == "internal"
    assert annotations[f"{prefix}-nlb-target-type"] == "ip"
    assert proxy["spec"]["kubernetes"]["service"]["loadBalancerClass"] == "service.k8s.aws/nlb"
    assert gateway["spec"]["infrastructure"]["parametersRef"]["name"] == proxy["metadata"]["name"]
    assert [listener["port"] for listener in gateway["spec"]["listeners"]] == [80]


def test_streams_are_neither_buffered_nor_cut() -> None:
    (policy,) = of_kind(render_case("eks"), "ProxySettingsPolicy")
    assert policy["spec"]["buffering"] == {"disable": True}
    assert policy["spec"]["timeout"]["read"] == "3600s"
    (gateway,) = of_kind(render_case("eks"), "Gateway")
    idle = "service.beta.kubernetes.io/aws-load-balancer-listener-attributes.TCP-80"
    assert gateway["spec"]["infrastructure"]["annotations"][idle] == "tcp.idle_timeout.seconds=3600"
    ingress = of_kind(render_case("eks-adapter-ingress"), "Ingress")[0]["metadata"]["annotations"]
    assert ingress["nginx.ingress.kubernetes.io/proxy-buffering"] == "off"
    assert ingress["nginx.ingress.kubernetes.io/proxy-read-timeout"] == "3600"


def test_with_a_certificate_the_balancer_ends_tls() -> None:
    (gateway,) = of_kind(render_case("eks-tls-keys"), "Gateway")
    annotations = gateway["spec"]["infrastructure"]["annotations"]
    assert annotations["service.beta.kubernetes.io/aws-load-balancer-ssl-ports"] == "443"
    assert [listener["port"] for listener in gateway["spec"]["listeners"]] == [443]
    assert gateway["spec"]["listeners"][0]["hostname"] == "llm.example.com"


@pytest.mark.parametrize("case", [case for case in CASES if case != "own-cluster"])
def test_every_pod_is_under_a_policy_and_metrics_stay_inside(case: str) -> None:
    policies = {entry["metadata"]["name"]: entry["spec"] for entry in of_kind(render_case(case), "NetworkPolicy")}
    assert policies["guide-default"]["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in policies["guide-default"]
    for name, spec in policies.items():
        for rule in spec.get("ingress", []):
            if name.endswith("-nodes"):
                continue
            ports = {port["port"] for port in rule["ports"]}
            scrapes = any("monitoring" in json.dumps(peer) for peer in rule["from"])
            assert scrapes or 8002 not in ports, name


def test_pods_do_not_reach_the_nodes_credentials() -> None:
    for policy in of_kind(render_case("eks"), "NetworkPolicy"):
        for rule in policy["spec"].get("egress", []):
            ports = {port["port"] for port in rule["ports"]}
            everywhere = any(peer.get("ipBlock", {}).get("cidr") == "0.0.0.0/0" for peer in rule["to"])
            assert not everywhere or ports == {443}, policy["metadata"]["name"]


def test_prometheus_finds_the_fleets_page_and_tritons() -> None:
    monitor, door = of_kind(render_case("eks"), "ServiceMonitor")
    selector = monitor["spec"]["selector"]["matchLabels"]
    services = [
        entry
        for entry in of_kind(render_case("eks"), "Service")
        if selector.items() <= entry["metadata"]["labels"].items()
    ]
    assert len(services) == 2
    for service in services:
        names = {port["name"]: port["port"] for port in service["spec"]["ports"]}
        assert {endpoint["port"]: names[endpoint["port"]] for endpoint in monitor["spec"]["endpoints"]} == {
            "fleet-metrics": 9000,
            "triton-metrics": 8002,
        }
        assert service["spec"]["publishNotReadyAddresses"] is True
    assert all(endpoint["honorLabels"] for endpoint in monitor["spec"]["endpoints"])
    assert door["spec"]["selector"]["matchLabels"]["tritonfleet.io/metrics"] == "door"


def test_dashboards_and_rules_of_the_chart_arrive_whole() -> None:
    text = render_case("eks")
    boards = [entry for entry in of_kind(text, "ConfigMap") if entry["metadata"]["labels"].get("grafana_dashboard")]
    files = sorted((CHART / "dashboards").glob("*.json"))
    assert files
    found = {name: json.loads(data) for entry in boards for name, data in entry["data"].items()}
    assert found == {path.name: json.loads(path.read_text()) for path in files}
    assert len(of_kind(text, "PrometheusRule")) == len(list((CHART / "rules").glob("*.yaml"))) > 0


@pytest.mark.parametrize(
    ("fleet", "link"),
    [({}, "http://localhost:9000/console/runbook"), ({"runbook_url": "https://wiki/llm"}, "https://wiki/llm")],
)
def test_alerts_link_to_the_runbook_that_the_fleet_names(fleet: Json, link: str) -> None:
    """Without a name, to the console behind a forwarded port."""
    values = case_values("eks")
    values["fleet"] = {**values["fleet"], "observability": fleet}
    (rules,) = of_kind(render(values), "PrometheusRule")
    alerts = [rule for group in rules["spec"]["groups"] for rule in group["rules"] if "alert" in rule]
    assert alerts
    assert all(alert["annotations"]["runbook_url"] == f"{link}#{alert['alert'].lower()}" for alert in alerts)


def test_keda_scales_the_pools_that_have_a_rule() -> None:
    text = render_case("eks-keda")
    scaled = {entry["metadata"]["name"]: entry["spec"] for entry in of_kind(text, "ScaledObject")}
    assert set(scaled) == {"guide-llama2", "guide-mistral7b"}
    spec = scaled["guide-llama2"]
    assert spec["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "guide-llama2"}
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (1, 4)
    for trigger in spec["triggers"]:
        query = trigger["metadata"]["query"]
        assert "@" not in json.dumps(trigger), "a token was left"
        assert 'namespace="models"' in query
        assert 'deployment="guide-llama2"' in query
        assert trigger["metadata"]["serverAddress"] == "http://kube-prometheus-stack-prometheus.monitoring:9090"
        assert trigger["metadata"]["ignoreNullValues"] == "false"
    replicas = {entry["metadata"]["name"]: entry["spec"].get("replicas") for entry in of_kind(text, "Deployment")}
    assert replicas == {"guide-llama2": None, "guide-mistral7b": None, "guide-fixed": 1, "guide-door": 2}


def test_an_hpa_asks_for_the_metrics_that_the_adapter_is_told_to_serve() -> None:
    text = render_case("eks-adapter-ingress")
    assert not of_kind(text, "ScaledObject")
    hpa = next(
        entry for entry in of_kind(text, "HorizontalPodAutoscaler") if entry["metadata"]["name"] == "guide-llama2"
    )
    rules = next(
        entry for entry in of_kind(text, "ConfigMap") if entry["metadata"]["name"] == "guide-llama2-adapter-rules"
    )["data"]["external.yaml"]
    for metric in hpa["spec"]["metrics"]:
        assert metric["external"]["metric"]["name"] in rules
    assert "@" not in rules
