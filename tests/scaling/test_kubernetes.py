"""The rule as Kubernetes objects: one source for both, and nothing that reads a gap as zero."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from tritonfleet.scaling import Rule, adapter_rules, horizontal_pod_autoscaler, pool_rule, scaled_object
from tritonfleet.scaling.kubernetes import metric_name, quantity
from tritonfleet.spec import parse_spec

FLEET = """
name: shop
models:
- name: chat
  source: ./chat
  replicas: 2
  scaling: {min_replicas: 1, max_replicas: 6, concurrency: 64, start_seconds: 400, idle_seconds: 600}
- name: Embed.v2
  source: ./embed
  pool: small
  scaling: {min_replicas: 0, max_replicas: 3, concurrency: 10}
- name: rank
  source: ./rank
  pool: small
  scaling: {min_replicas: 0, max_replicas: 2, concurrency: 20, down_window_seconds: 900}
- {name: fixed, source: ./fixed}
"""


def rule_of(pool: str) -> Rule:
    """Return the rule of a pool of the fleet above."""
    rule = pool_rule(parse_spec(FLEET), pool, namespace="llm", deployment=f"shop-{pool}")
    assert rule is not None
    return rule


def test_a_model_without_the_section_is_not_scaled() -> None:
    """Its pool has no rule."""
    assert pool_rule(parse_spec(FLEET), "fixed", namespace="llm", deployment="x") is None


def test_a_pod_with_two_engines_takes_twice_as_much() -> None:
    """Three quarters of 64, for two engines."""
    assert [(trigger.name, trigger.target) for trigger in rule_of("chat").triggers] == [
        ("in-flight", 96),
        ("kv-cache", 1.6),
    ]


def test_models_of_a_pool_scale_together() -> None:
    """Each has its triggers; the widest bounds and the slowest way down count."""
    rule = rule_of("small")
    names = [trigger.name for trigger in rule.triggers]
    assert names == ["in-flight-Embed.v2", "kv-cache-Embed.v2", "in-flight-rank", "kv-cache-rank"]
    assert (rule.min_replicas, rule.max_replicas, rule.down.window_seconds) == (0, 3, 900)


def test_the_scaled_object() -> None:
    """As KEDA reads it."""
    rule = rule_of("chat")
    found = scaled_object(rule, name="chat", deployment="shop-chat", prometheus_url="http://prometheus:9090")
    triggers = found["spec"].pop("triggers")
    assert found == {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": "chat"},
        "spec": {
            "scaleTargetRef": {"name": "shop-chat"},
            "pollingInterval": 15,
            "cooldownPeriod": 600,
            "minReplicaCount": 1,
            "maxReplicaCount": 6,
            "fallback": {"failureThreshold": 3, "replicas": 2, "behavior": "currentReplicasIfHigher"},
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": behavior(800)}},
        },
    }
    assert [trigger["metadata"]["threshold"] for trigger in triggers] == ["96", "1.6"]
    for trigger, source in zip(triggers, rule.triggers, strict=True):
        assert trigger["metricType"] == "AverageValue"
        assert trigger["metadata"]["query"] == source.query
        assert trigger["metadata"]["ignoreNullValues"] == "false"
        assert all(isinstance(value, str) for value in trigger["metadata"].values())


def test_the_hpa_asks_for_what_the_adapter_serves() -> None:
    """Names, queries and targets are the ScaledObject's."""
    rule = rule_of("chat")
    hpa = horizontal_pod_autoscaler(rule, name="chat", namespace="llm", deployment="shop-chat")
    served = adapter_rules(rule, namespace="llm", deployment="shop-chat")
    asked = [metric["external"] for metric in hpa["spec"]["metrics"]]
    assert [entry["metric"]["name"] for entry in asked] == [entry["name"]["as"] for entry in served]
    assert [entry["metricsQuery"] for entry in served] == [trigger.query for trigger in rule.triggers]
    assert [entry["target"] for entry in asked] == [
        {"type": "AverageValue", "averageValue": "96"},
        {"type": "AverageValue", "averageValue": "1600m"},
    ]
    assert hpa["spec"]["behavior"] == behavior(800)
    assert (hpa["spec"]["minReplicas"], hpa["spec"]["maxReplicas"]) == (1, 6)


def test_an_hpa_has_one_replica_at_least() -> None:
    """Only KEDA scales to zero."""
    hpa = horizontal_pod_autoscaler(rule_of("small"), name="small", namespace="llm", deployment="shop-small")
    assert hpa["spec"]["minReplicas"] == 1


def test_metric_names_are_distinct() -> None:
    """The adapter's rules of all releases share one list; a name is one segment of a path."""
    trigger = rule_of("chat").triggers[0]
    names = [metric_name(*place, trigger) for place in (("llm", "a-b"), ("llm", "a.b"), ("other", "a-b"))]
    assert names == [
        "tritonfleet.llm.a-b.in-flight",
        "tritonfleet.llm.a.b.in-flight",
        "tritonfleet.other.a-b.in-flight",
    ]
    assert all(re.fullmatch(r"[A-Za-z0-9.-]+", name) for name in names)


@pytest.mark.parametrize(("value", "text"), [(96.0, "96"), (0.8, "800m"), (1.6, "1600m"), (0.05, "50m")])
def test_quantities(value: float, text: str) -> None:
    """Whole, or in thousandths."""
    assert quantity(value) == text


def test_the_objects_are_plain_yaml() -> None:
    """They come back from YAML as they went in."""
    rule = rule_of("small")
    objects = [
        scaled_object(rule, name="small", deployment="shop-small", prometheus_url="http://p:9090"),
        horizontal_pod_autoscaler(rule, name="small", namespace="llm", deployment="shop-small"),
        adapter_rules(rule, namespace="llm", deployment="shop-small"),
    ]
    assert yaml.safe_load(yaml.safe_dump(objects)) == objects


def behavior(window: int) -> dict[str, Any]:
    """Return the behaviour with a window of so many seconds on the way down."""
    return {
        "scaleUp": {
            "stabilizationWindowSeconds": 0,
            "selectPolicy": "Max",
            "policies": [
                {"type": "Percent", "value": 100, "periodSeconds": 60},
                {"type": "Pods", "value": 2, "periodSeconds": 60},
            ],
        },
        "scaleDown": {
            "stabilizationWindowSeconds": window,
            "selectPolicy": "Max",
            "policies": [{"type": "Pods", "value": 1, "periodSeconds": 120}],
        },
    }
