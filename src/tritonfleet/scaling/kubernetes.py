"""The rule as Kubernetes objects: a KEDA ScaledObject, or an HPA with rules for prometheus-adapter. Pure.

Plain dicts, as a YAML or JSON writer takes them; the chart renders them. Both carry the same queries and numbers.
"""

from __future__ import annotations

from typing import Any

from tritonfleet.scaling.hpa import SYNC_SECONDS
from tritonfleet.scaling.rule import Direction, Rule, Trigger

#: Looks that may fail in a row before KEDA takes the fallback.
FAILURE_THRESHOLD = 3
#: Replicas that the fallback has at least, where the rule allows them: one may be the one that hangs.
FALLBACK_REPLICAS = 2

Object = dict[str, Any]


def scaled_object(rule: Rule, *, name: str, deployment: str, prometheus_url: str) -> Object:
    """Return the KEDA ScaledObject (``keda.sh/v1alpha1``) of a pool.

    A query without a value is a failure (``ignoreNullValues``), not a zero; after three of them KEDA keeps the replicas
    that there are, or takes the fallback's number if that is higher.

    Args:
        rule: The pool's rule.
        name: Name of the object.
        deployment: Deployment that it scales.
        prometheus_url: Prometheus' HTTP address as KEDA reaches it.
    """
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": name},
        "spec": {
            "scaleTargetRef": {"name": deployment},
            "pollingInterval": round(SYNC_SECONDS),
            "cooldownPeriod": rule.idle_seconds,
            "minReplicaCount": rule.min_replicas,
            "maxReplicaCount": rule.max_replicas,
            "fallback": {
                "failureThreshold": FAILURE_THRESHOLD,
                "replicas": min(rule.max_replicas, max(rule.min_replicas, FALLBACK_REPLICAS)),
                "behavior": "currentReplicasIfHigher",
            },
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": _behavior(rule)}},
            "triggers": [_keda_trigger(trigger, prometheus_url) for trigger in rule.triggers],
        },
    }


def horizontal_pod_autoscaler(rule: Rule, *, name: str, namespace: str, deployment: str) -> Object:
    """Return the HPA (``autoscaling/v2``) of a pool, on the external metrics of :func:`adapter_rules`.

    It has at least one replica: an HPA does not scale to zero.
    """
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": deployment},
            "minReplicas": rule.floor,
            "maxReplicas": rule.max_replicas,
            "behavior": _behavior(rule),
            "metrics": [
                {
                    "type": "External",
                    "external": {
                        "metric": {"name": metric_name(namespace, deployment, trigger)},
                        "target": {"type": "AverageValue", "averageValue": quantity(trigger.target)},
                    },
                }
                for trigger in rule.triggers
            ],
        },
    }


def adapter_rules(rule: Rule, *, namespace: str, deployment: str) -> list[Object]:
    """Return the entries of a pool for prometheus-adapter's ``rules.external``.

    A metric whose query has no value is missing for the HPA, which then scales nothing down.
    """
    return [
        {
            # kube-state-metrics' series of the pool: it is there even while no engine serves.
            "seriesQuery": f'kube_deployment_spec_replicas{{namespace="{namespace}", deployment="{deployment}"}}',
            "resources": {"overrides": {"namespace": {"resource": "namespace"}}},
            "name": {"as": metric_name(namespace, deployment, trigger)},
            "metricsQuery": trigger.query,
        }
        for trigger in rule.triggers
    ]


def metric_name(namespace: str, deployment: str, trigger: Trigger) -> str:
    """Return the name of a trigger's external metric: unique in the cluster, and fit for a path's segment."""
    return f"tritonfleet.{namespace}.{deployment}.{trigger.name}"


def quantity(value: float) -> str:
    """Return *value* as a Kubernetes quantity, in thousandths where it is not whole."""
    return str(round(value)) if value == round(value) else f"{round(value * 1000)}m"


def _keda_trigger(trigger: Trigger, prometheus_url: str) -> Object:
    return {
        "type": "prometheus",
        "name": trigger.name,
        "metricType": "AverageValue",
        "metadata": {
            "serverAddress": prometheus_url,
            "query": trigger.query,
            "threshold": f"{trigger.target:g}",
            "activationThreshold": "0",
            "ignoreNullValues": "false",
        },
    }


def _behavior(rule: Rule) -> Object:
    return {"scaleUp": _direction(rule.up), "scaleDown": _direction(rule.down)}


def _direction(direction: Direction) -> Object:
    return {
        "stabilizationWindowSeconds": direction.window_seconds,
        "selectPolicy": "Max",
        "policies": [
            {"type": policy.kind, "value": policy.value, "periodSeconds": policy.period_seconds}
            for policy in direction.policies
        ],
    }
