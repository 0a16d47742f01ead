"""The scaling rule of a pool as the chart takes it. Pure.

Namespace, release and Prometheus are known only when the chart is installed: tokens stand for them, and the chart puts
them in.
"""

from __future__ import annotations

from typing import Any

from tritonfleet.scaling import adapter_rules, horizontal_pod_autoscaler, pool_rule, scaled_object
from tritonfleet.spec.models import FleetSpec

NAMESPACE = "@NAMESPACE@"
RELEASE = "@RELEASE@"
PROMETHEUS = "@PROMETHEUS@"


def scaling_values(spec: FleetSpec, pool: str) -> dict[str, Any] | None:
    """Return the section ``scaling`` of the values of *pool*; None for a pool that nothing scales."""
    deployment = f"{RELEASE}-{pool}"
    rule = pool_rule(spec, pool, namespace=NAMESPACE, deployment=deployment)
    if rule is None:
        return None
    keda = scaled_object(rule, name=deployment, deployment=deployment, prometheus_url=PROMETHEUS)
    hpa = horizontal_pod_autoscaler(rule, name=deployment, namespace=NAMESPACE, deployment=deployment)
    return {
        "keda": _own(keda["spec"]),
        "hpa": _own(hpa["spec"]),
        "adapterRules": adapter_rules(rule, namespace=NAMESPACE, deployment=deployment),
    }


def _own(spec: dict[str, Any]) -> dict[str, Any]:
    """Return an autoscaler's spec without its target, which the chart names."""
    return {key: value for key, value in spec.items() if key != "scaleTargetRef"}
