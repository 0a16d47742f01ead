"""The algorithm of Kubernetes' HorizontalPodAutoscaler (autoscaling/v2) with behaviour: windows and policies. Pure.

Follows ``pkg/controller/podautoscaler/horizontal.go``: what the load asks for is first held against the recommendations
of the window (``stabilizeRecommendationWithBehaviors``), then against the changes of the policies' periods
(``convertDesiredReplicasWithBehaviorRate``). KEDA hands its triggers to this same controller.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from tritonfleet.scaling.rule import Direction, Policy, Rule, desired

#: How often the controller looks (``--horizontal-pod-autoscaler-sync-period``).
SYNC_SECONDS = 15.0


@dataclass(frozen=True)
class History:
    """What the autoscaler remembers, oldest first; times in seconds of any clock that only goes forward."""

    recommendations: tuple[tuple[float, int], ...] = ()
    """When, and how many replicas the load asked for."""
    changes: tuple[tuple[float, int], ...] = ()
    """When, and how many replicas came (positive) or went (negative)."""
    active_at: float | None = None
    """When there was last something to do; only looked at where a pool may have no replica."""


@dataclass(frozen=True)
class Decision:
    """What one look came to."""

    replicas: int
    """Replicas to have from now on."""
    asked: int | None
    """What the load asked for, before windows and policies; None where it was not known."""
    history: History
    """To be given to the next look."""


def decide(rule: Rule, history: History, now: float, replicas: int, values: Mapping[str, float | None]) -> Decision:
    """Look once at the load and return how many replicas there should be.

    Args:
        rule: The pool's rule.
        history: What the last decision returned; empty at first.
        now: Seconds.
        replicas: Replicas that are asked for now, starting ones included.
        values: The triggers' values by name; None for one that is not known.
    """
    history = _without_old(history, rule, now)
    if rule.min_replicas == 0:
        history = _with_activity(rule, history, now, values)
        if not replicas or _idle(rule, history, now):
            found = 1 if _woken(rule, values) else 0
            return Decision(found, found, history)  # KEDA's own step, which the HPA's policies do not count
    asked = desired(rule, values, replicas)
    if not rule.floor <= replicas <= rule.max_replicas:
        # Somebody set another number by hand: back into the bounds at once, as the HPA does.
        bounded = min(rule.max_replicas, max(rule.floor, replicas))
        return Decision(bounded, asked, _changed(history, now, bounded - replicas))
    if asked is None:
        return Decision(replicas, None, history)
    stable = _stabilised(rule, history, now, replicas, asked)
    found = _limited(rule, history, now, replicas, stable)
    noted = replace(history, recommendations=(*history.recommendations, (now, asked)))
    return Decision(found, asked, _changed(noted, now, found - replicas))


def _with_activity(rule: Rule, history: History, now: float, values: Mapping[str, float | None]) -> History:
    """Return the history with its new ``active_at``; a value that is not known counts as activity."""
    active = any(values.get(trigger.name) != 0 for trigger in rule.triggers)
    return replace(history, active_at=now) if active or history.active_at is None else history


def _idle(rule: Rule, history: History, now: float) -> bool:
    return history.active_at is not None and now - history.active_at >= rule.idle_seconds


def _woken(rule: Rule, values: Mapping[str, float | None]) -> bool:
    """Whether any trigger is known to be above zero, which is what wakes a pool in KEDA."""
    return any((values.get(trigger.name) or 0) > 0 for trigger in rule.triggers)


def _stabilised(rule: Rule, history: History, now: float, replicas: int, asked: int) -> int:
    up = min([asked, *_since(history.recommendations, now - rule.up.window_seconds)])
    down = max([asked, *_since(history.recommendations, now - rule.down.window_seconds)])
    return min(max(replicas, up), down)


def _limited(rule: Rule, history: History, now: float, replicas: int, stable: int) -> int:
    if stable > replicas:
        limit = max(_after_growth(policy, history, now, replicas) for policy in rule.up.policies)
        return min(stable, rule.max_replicas, max(limit, replicas))
    if stable < replicas:
        limit = min(_after_shrinking(policy, history, now, replicas) for policy in rule.down.policies)
        return max(stable, rule.floor, min(limit, replicas))
    return replicas


def _after_growth(policy: Policy, history: History, now: float, replicas: int) -> int:
    start = _at_start_of_period(policy, history, now, replicas)
    return start + policy.value if policy.kind == "Pods" else math.ceil(start * (1 + policy.value / 100))


def _after_shrinking(policy: Policy, history: History, now: float, replicas: int) -> int:
    start = _at_start_of_period(policy, history, now, replicas)
    return start - policy.value if policy.kind == "Pods" else int(start * (1 - policy.value / 100))


def _at_start_of_period(policy: Policy, history: History, now: float, replicas: int) -> int:
    return replicas - sum(_since(history.changes, now - policy.period_seconds))


def _since(events: Iterable[tuple[float, int]], start: float) -> list[int]:
    return [number for when, number in events if when > start]


def _changed(history: History, now: float, change: int) -> History:
    return replace(history, changes=(*history.changes, (now, change))) if change else history


def _without_old(history: History, rule: Rule, now: float) -> History:
    window = max(rule.up.window_seconds, rule.down.window_seconds)
    period = max(_periods(rule.up, rule.down))
    return replace(
        history,
        recommendations=tuple(entry for entry in history.recommendations if entry[0] > now - window),
        changes=tuple(entry for entry in history.changes if entry[0] > now - period),
    )


def _periods(*directions: Direction) -> Iterable[int]:
    return (policy.period_seconds for direction in directions for policy in direction.policies)
