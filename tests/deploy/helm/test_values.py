"""What the chart says to values that are wrong."""

from __future__ import annotations

import json

import pytest
from helm_python.errors import HelmError

from tests.deploy.helm.charts import Json, case_values, merged, of_kind, render

pytestmark = pytest.mark.deploy


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ({"dor": {}}, "'dor' not allowed"),
        ({"door": {"replica": 2}}, "'replica' not allowed"),
        ({"door": {"replicas": 0}}, "minimum: got 0, want 1"),
        ({"front": {"kind": "traefik"}}, "value must be one of"),
        ({"front": {"timeout": "1h"}}, "does not match pattern"),
        ({"aws": {"bucket": "x"}}, "'bucket' not allowed"),
        ({"aws": {"weightsUrl": "gs://x"}}, "does not match pattern"),
        ({"models": {"llama2": {"sorce": "x"}}}, "'sorce' not allowed"),
        ({"models": {"llama2": {"engine": "vlm"}}}, "value must be one of"),
        ({"fleet": {"lifecycle": {"drain": 5}}}, "'drain' not allowed"),
        ({"pools": {"Llama": {}}}, "Llama"),
        ({"pools": {"llama2": {"resources": {"memory": "a lot"}}}}, "does not match pattern"),
        ({"cache": {"kind": "hostPath"}}, "value must be one of"),
    ],
)
def test_the_schema_refuses(extra: Json, said: str) -> None:
    with pytest.raises(HelmError, match=said):
        render(merged(case_values("eks"), extra))


def test_a_pool_of_an_unknown_model_is_named() -> None:
    with pytest.raises(HelmError, match="pools: the model llama3 is not among models"):
        render(merged(case_values("eks"), {"pools": {"llama2": {"models": ["llama3"]}}}))


def test_a_name_that_kubernetes_would_cut_is_refused() -> None:
    with pytest.raises(HelmError, match="is longer than 55 letters; shorten"):
        render(case_values("eks"), release="r" * 53)


def test_a_claim_needs_its_name() -> None:
    with pytest.raises(HelmError, match=r"cache\.claim: name the PersistentVolumeClaim"):
        render(merged(case_values("eks"), {"cache": {"kind": "claim"}}))


def test_doors_without_keys_are_not_opened_to_the_internet() -> None:
    public: Json = {"front": {"scheme": "internet-facing"}}
    with pytest.raises(HelmError, match=r"ask for no API key, to everybody; set front\.kserve: false"):
        render(merged(case_values("eks"), public))
    public["front"]["kserve"] = False
    with pytest.raises(HelmError, match="needs API keys; name their Secret with apiKeysSecret"):
        render(merged(case_values("eks"), public))
    text = render(merged(case_values("eks"), public | {"apiKeysSecret": "api-keys"}))
    assert [entry["metadata"]["name"] for entry in of_kind(text, "HTTPRoute")] == ["guide-openai"]
    assert not of_kind(text, "GRPCRoute")
    ingress = render(merged(case_values("eks-adapter-ingress"), {"front": {"kserve": False}}))
    assert [entry["metadata"]["name"] for entry in of_kind(ingress, "Ingress")] == ["guide"]
    assert "/v2/models" not in json.dumps(of_kind(ingress, "Ingress"))
