"""How many replicas a pool has: the rule, its queries, its Kubernetes objects, and what it would have done. Pure.

The rule comes from the ``scaling`` sections of fleet.yaml. What runs in a cluster, what the proof drives and what
the simulation replays are the same values.
"""

from __future__ import annotations

from tritonfleet.scaling.hpa import Decision, History, decide
from tritonfleet.scaling.kubernetes import adapter_rules, horizontal_pod_autoscaler, scaled_object
from tritonfleet.scaling.pools import model_rule, pool_rule
from tritonfleet.scaling.rule import Direction, Policy, Rule, Trigger, desired

__all__ = [
    "Decision",
    "Direction",
    "History",
    "Policy",
    "Rule",
    "Trigger",
    "adapter_rules",
    "decide",
    "desired",
    "horizontal_pod_autoscaler",
    "model_rule",
    "pool_rule",
    "scaled_object",
]
