"""The pure side of the scripts: zones, quotas, prices, settings, secrets, answers."""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from .conftest import DEPLOY, recorded

sys.path.insert(0, str(DEPLOY / "lib"))
capacity: Any = importlib.import_module("capacity")
documents: Any = importlib.import_module("documents")
prices: Any = importlib.import_module("prices")
sys.path.remove(str(DEPLOY / "lib"))

pytestmark = pytest.mark.deploy

names = st.sampled_from(["name", "region", "zones", "models", "pools"])


@given(st.lists(st.dictionaries(names, st.integers()), max_size=5))
def test_the_last_layer_wins(layers: list[dict[str, int]]) -> None:
    """Merging keeps every key and, of each, the last value."""
    merged = documents.merge(layers, {"name", "region", "zones", "models", "pools"})
    assert set(merged) == {key for layer in layers for key in layer}
    for key, value in merged.items():
        assert value == [layer[key] for layer in layers if key in layer][-1]


@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyz_", min_size=1, max_size=12))
def test_an_unknown_setting_is_always_refused(key: str) -> None:
    """Nothing is dropped in silence."""
    known = {"region", "zones"}
    if key in known:
        return
    with pytest.raises(documents.Refused, match="known to no part"):
        documents.merge([{key: 1}], known)


@given(st.lists(st.sampled_from("abcdef"), unique=True, max_size=6), st.data())
def test_zones_are_two_or_three_usable_ones(letters: list[str], data: st.DataObject) -> None:
    """Only zones that EKS takes; those with more of the wanted types first; refused where fewer than two remain."""
    zones = [
        {"ZoneName": f"us-east-1{letter}", "ZoneId": f"use1-az{index + 1}"} for index, letter in enumerate(letters)
    ]
    usable = {zone["ZoneName"] for zone in zones if zone["ZoneId"] != "use1-az3"}
    offered = {zone["ZoneName"]: data.draw(st.booleans()) for zone in zones}
    offerings = [{"InstanceType": "g6.xlarge", "Location": zone} for zone, there in offered.items() if there]
    arguments = ({"AvailabilityZones": zones}, {"InstanceTypeOfferings": offerings}, ["g6.xlarge"])
    if len(usable) < 2:
        with pytest.raises(documents.Refused, match="EKS needs two"):
            capacity.choose_zones(*arguments)
        return
    chosen = capacity.choose_zones(*arguments)
    assert chosen == sorted(chosen)
    assert len(chosen) == min(3, len(usable))
    assert set(chosen) <= usable
    left_out = usable - set(chosen)
    assert not (any(offered[zone] for zone in left_out) and not all(offered[zone] for zone in chosen))


@pytest.mark.parametrize(
    ("kind", "quota"),
    [
        ("g6e.12xlarge", "G and VT"),
        ("p5.48xlarge", "On-Demand P"),
        ("inf2.xlarge", "Inf"),
        ("trn1.2xlarge", "Trn"),
        ("m6i.xlarge", "Standard"),
        ("c7g.large", "Standard"),
    ],
)
def test_quota_of_a_type(kind: str, quota: str) -> None:
    """Each family counts against the quota that EC2 counts it against."""
    assert quota in capacity.quota_name(kind)


@given(st.integers(0, 5), st.integers(0, 5), st.integers(0, 300))
def test_a_quota_complains_exactly_when_the_start_does_not_fit(minimum: int, more: int, limit: int) -> None:
    """Eight vCPUs for each replica of the one pool."""
    inputs = {"pools": {"a": {"instance_types": ["g6.2xlarge"], "minimum": minimum, "maximum": minimum + more}}}
    quotas = {"Quotas": [{"QuotaName": capacity.QUOTAS["g"], "QuotaCode": "L-1", "Value": limit}]}
    found = capacity.capacity_problems(inputs, json.loads(recorded("types")), quotas, json.loads(recorded("offerings")))
    assert bool(found) is (limit < 8 * minimum)


def test_price_is_the_on_demand_one() -> None:
    """Zero prices (included hours) and other usage types are passed over."""
    offers = {
        "PriceList": [
            {"product": {"attributes": {"usagetype": "USW2-Reservation:g6.xlarge"}}, "terms": {}},
            {
                "product": {"attributes": {"usagetype": "USW2-BoxUsage:g6.xlarge"}},
                "terms": {
                    "OnDemand": {
                        "x": {
                            "priceDimensions": {
                                "a": {"pricePerUnit": {"USD": "0.0"}},
                                "b": {"pricePerUnit": {"USD": "0.8"}},
                            }
                        }
                    }
                },
            },
        ]
    }
    assert prices.usd(offers, "BoxUsage:g6.xlarge") == 0.8
    assert prices.usd(offers, "BoxUsage:g6.2xlarge") is None


@given(st.integers(0, 9), st.integers(0, 9), st.floats(0.01, 50))
def test_the_sum_is_the_sum(low: int, more: int, price: float) -> None:
    """Least and most are the lines' counts times their prices."""
    text = prices.bill_text([("a", low, low + more, price), ("b", 1, 1, 1.0), ("c", 1, 2, None)])
    assert f"An hour costs {low * price + 1:.2f} USD to start and {(low + more) * price + 1:.2f} USD at most" in text
    assert "plus 1 line(s) without a price" in text


def test_secrets_are_written_when_new() -> None:
    """Grafana's password once, the token whenever one is given, with a number that grows."""
    first = documents.secret_settings({}, "", 100)
    assert first["versions"] == {"grafana-admin": 1}
    assert json.loads(first["values"]["grafana-admin"])["admin-user"] == "admin"
    second = documents.secret_settings(first["versions"], "hf_x", 200)
    assert second == {
        "versions": {"grafana-admin": 1, "hugging-face-token": 200},
        "values": {"hugging-face-token": "hf_x"},
    }
    assert documents.secret_settings(second["versions"], "", 300) == {"versions": second["versions"], "values": {}}


@pytest.mark.parametrize(
    "body",
    [
        "",
        "upstream timed out",
        "{}",
        '{"choices": []}',
        '{"error": {"message": "no model"}}',
        '{"choices": [{"text": "  "}]}',
    ],
)
def test_no_answer(body: str) -> None:
    """Anything that holds no words is no answer, and the body is shown."""
    with pytest.raises(documents.Refused, match="llama2"):
        documents.answer_text("llama2", body)


@given(st.text(alphabet=st.characters(codec="utf-8"), min_size=1, max_size=30))
def test_a_prompt_cannot_break_out_of_its_quotes(model: str) -> None:
    """A model's name stays inside one line of curl's configuration."""
    text = documents.curl_config("http://x/v1/completions", model, "")
    assert len(text.splitlines()) == 3
    data = json.loads(text.split("data = ", 1)[1])
    assert json.loads(data)["model"] == model


@given(st.lists(st.tuples(st.text(min_size=1), st.text(min_size=1)), max_size=1200))
def test_deletes_are_a_thousand_at_most(versions: list[tuple[str, str]]) -> None:
    """S3 refuses a larger request."""
    listing = {"Versions": [{"Key": key, "VersionId": version} for key, version in versions]}
    request = documents.delete_request(listing)
    assert len(request["Objects"]) == min(1000, len(versions))


@pytest.mark.parametrize(
    ("version", "least", "enough"),
    [("1.11.4", "1.11", True), ("1.9.8", "1.11", False), ("2.0.0", "1.11", True), ("1.36.0-eks-1", "1.34", True)],
)
def test_versions_are_numbers(version: str, least: str, enough: bool) -> None:
    """1.9 is older than 1.11."""
    assert documents.at_least(version, least) is enough
