"""The scaling rule as a value, and how many replicas it asks for at a given load. Pure.

A replica is a pod of the pool. Each trigger is a number that grows with the load, and how much of it one replica takes;
the trigger that asks for most replicas decides. A number that is not known never reads as zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

#: How far a load may be off its target before anything happens; the default of Kubernetes' HPA.
TOLERANCE = 0.1


@dataclass(frozen=True)
class Trigger:
    """One reason to have more replicas."""

    name: str
    """Unique within the rule; letters, digits and dashes."""
    query: str
    """PromQL; one value for the whole pool, nothing where it is not known."""
    target: float
    """Value that one replica takes."""


@dataclass(frozen=True)
class Policy:
    """At most so much change within a period."""

    kind: Literal["Pods", "Percent"]
    value: int
    period_seconds: int


@dataclass(frozen=True)
class Direction:
    """How fast replicas may come, or go."""

    window_seconds: int
    """Going up, the lowest wish of this time counts; going down, the highest."""
    policies: tuple[Policy, ...]
    """The one that allows most counts."""


@dataclass(frozen=True)
class Rule:
    """Everything that decides about a pool's replicas."""

    triggers: tuple[Trigger, ...]
    min_replicas: int
    max_replicas: int
    up: Direction
    down: Direction
    idle_seconds: int
    """Time without load after which the last replica goes, where *min_replicas* is 0."""
    tolerance: float = TOLERANCE

    @property
    def floor(self) -> int:
        """Fewest replicas of a pool that is asked for; only an idle one has none."""
        return max(1, self.min_replicas)


def wanted(trigger: Trigger, value: float, replicas: int, tolerance: float) -> int:
    """Return how many replicas *trigger* asks for, as the HPA counts with an ``AverageValue`` target.

    Args:
        trigger: What is looked at.
        value: Its value over the whole pool.
        replicas: Replicas that there are, starting ones included.
        tolerance: Deviation from the target at which nothing changes, 0.1 for a tenth.
    """
    if replicas and abs(value / (trigger.target * replicas) - 1) <= tolerance:
        return replicas
    # A quotient such as 48.000000001 is no reason for another replica.
    return math.ceil(round(value / trigger.target, 9))


def desired(rule: Rule, values: Mapping[str, float | None], replicas: int) -> int | None:
    """Return the replicas that the load asks for, within the rule's bounds; None to leave things as they are.

    A value that is missing (None, absent or not a number) keeps replicas from going, not from coming: what the other
    triggers ask for still counts.
    """
    known = {trigger: value for trigger in rule.triggers if (value := _number(values.get(trigger.name))) is not None}
    if not known:
        return None
    most = max(wanted(trigger, value, replicas, rule.tolerance) for trigger, value in known.items())
    if len(known) < len(rule.triggers) and most < replicas:
        return None
    return min(rule.max_replicas, max(rule.floor, most))


def _number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
