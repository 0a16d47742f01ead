"""The cluster's front, by Gateway API or Ingress, has the settings of the nginx that is tested here."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.deploy.helm.charts import of_kind, render_case
from tests.deploy.nginx.front import CONFIG, settings

pytestmark = pytest.mark.deploy

ANNOTATION = "nginx.ingress.kubernetes.io/"
FRONT_MODULE = CONFIG.parents[1] / "terraform/modules/front/main.tf"


def only(case: str, kind: str) -> Any:
    """Return the spec of the only object of a kind."""
    (entry,) = of_kind(render_case(case), kind)
    return entry["spec"]


def allows(path: str) -> bool:
    """Return whether a location of the file, other than the last resort, takes the path."""
    locations = re.findall(r'location ~ "([^"]+)" \{\s+(?:proxy|grpc)_pass', CONFIG.read_text())
    assert len(locations) == 4
    return any(re.search(pattern, path) for pattern in locations)


def test_gateway_api_sets_what_the_file_sets() -> None:
    ours = settings()
    client = only("eks", "ClientSettingsPolicy")["body"]
    proxy = only("eks", "ProxySettingsPolicy")
    assert (client["maxSize"], client["timeout"]) == (ours["client_max_body_size"], ours["client_body_timeout"])
    assert proxy["buffering"]["disable"] is (ours["proxy_buffering"] == "off")
    for name in ("connect", "read", "send"):
        assert proxy["timeout"][name] == ours[f"proxy_{name}_timeout"]


def test_gateway_api_gives_grpc_its_timeouts_by_snippet() -> None:
    policy = only("eks", "SnippetsPolicy")
    (snippet,) = policy["snippets"]
    set_there = dict(re.findall(r"^(\w+) ([^;]+);$", snippet["value"], re.MULTILINE))
    assert set(set_there) >= {"grpc_connect_timeout", "grpc_read_timeout", "grpc_send_timeout", "send_timeout"}
    assert set_there.items() <= settings().items()
    assert policy["targetRef"]["kind"] == "Gateway"
    assert "snippets = { enable = true }" in FRONT_MODULE.read_text()


def test_ingress_sets_what_the_file_sets() -> None:
    ours = settings()
    for ingress in of_kind(render_case("eks-adapter-ingress"), "Ingress"):
        found = ingress["metadata"]["annotations"]
        for name in ("connect", "read", "send"):
            assert f"{found[f'{ANNOTATION}proxy-{name}-timeout']}s" == ours[f"proxy_{name}_timeout"]
            assert ours[f"grpc_{name}_timeout"] == ours[f"proxy_{name}_timeout"]
        assert found[f"{ANNOTATION}proxy-body-size"] == ours["client_max_body_size"]
        assert found[f"{ANNOTATION}proxy-next-upstream"] == "off"
        if found.get(f"{ANNOTATION}backend-protocol") != "GRPC":  # nginx never buffers gRPC
            for name in ("proxy-buffering", "proxy-request-buffering"):
                assert found[f"{ANNOTATION}{name}"] == ours[name.replace("-", "_")]
    assert f'client-body-timeout = "{ours["client_body_timeout"].removesuffix("s")}"' in FRONT_MODULE.read_text()


def test_the_file_lets_through_what_the_routes_let_through() -> None:
    for entry in of_kind(render_case("eks"), "HTTPRoute"):
        for match in (match for rule in entry["spec"]["rules"] for match in rule["matches"]):
            path = match["path"]["value"]
            assert allows(path), path
            assert allows(f"{path}/x") is (match["path"]["type"] == "PathPrefix"), path
    methods = {
        (match["method"]["service"], match["method"]["method"])
        for entry in of_kind(render_case("eks"), "GRPCRoute")
        for rule in entry["spec"]["rules"]
        for match in rule["matches"]
    }
    text = re.search(r"\^/inference\\\.GRPCInferenceService/\(([^)]+)\)", CONFIG.read_text())
    assert text
    assert {("inference.GRPCInferenceService", name) for name in text[1].split("|")} == methods
