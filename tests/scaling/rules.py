"""Rules for tests."""

from __future__ import annotations

from tritonfleet.scaling import Direction, Policy, Rule, Trigger


def make_rule(
    *,
    target: float = 10,
    min_replicas: int = 1,
    max_replicas: int = 8,
    up: Direction = Direction(0, (Policy("Percent", 100, 60), Policy("Pods", 2, 60))),  # noqa: B008 - frozen
    down: Direction = Direction(600, (Policy("Pods", 1, 120),)),  # noqa: B008 - frozen
    tolerance: float = 0.1,
) -> Rule:
    """Return a rule on requests in flight and the KV cache."""
    triggers = (Trigger("in-flight", "in_flight", target), Trigger("kv-cache", "kv_cache", 0.8))
    return Rule(triggers, min_replicas, max_replicas, up, down, idle_seconds=900, tolerance=tolerance)
