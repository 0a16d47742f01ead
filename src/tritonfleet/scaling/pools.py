"""From fleet.yaml to the rule of a pool. Pure.

The models of a pool share its pods and scale together: each brings its triggers, and the one under most load decides.
"""

from __future__ import annotations

from collections.abc import Sequence

from tritonfleet.scaling.queries import Place, in_flight, kv_cache
from tritonfleet.scaling.rule import Direction, Policy, Rule, Trigger
from tritonfleet.spec.models import FleetSpec, ModelSpec
from tritonfleet.spec.scaling import ScalingSpec

#: Replicas may double within this time, and two may come in any case.
UP_PERIOD_SECONDS = 60
UP_AT_LEAST = 2


def pool_rule(spec: FleetSpec, pool: str, *, namespace: str, deployment: str) -> Rule | None:
    """Return the rule of the pool called *pool*; None if none of its models has a ``scaling`` section.

    Args:
        spec: The fleet.
        pool: A pool, as ``spec.pool_of`` names it.
        namespace: Kubernetes namespace of the pods, the ``namespace`` label of their series.
        deployment: Name of the pool's Deployment, as kube-state-metrics' ``deployment`` label has it.
    """
    scaled = [(model, model.scaling) for model in spec.models if model.scaling and spec.pool_of(model) == pool]
    if not scaled:
        return None
    triggers: list[Trigger] = []
    for model, scaling in scaled:
        place = Place(spec.name, model.name, pool, namespace, deployment, model.replicas, model.share is not None)
        triggers += _triggers(model, scaling, place, alone=len(scaled) == 1)
    return _rule(triggers, [scaling for _, scaling in scaled])


def model_rule(model: ModelSpec, scaling: ScalingSpec) -> Rule:
    """Return the rule of *model* in a pool of its own, with queries for a fleet called ``fleet``."""
    place = Place("fleet", model.name, model.name, "default", model.name, model.replicas)
    return _rule(_triggers(model, scaling, place, alone=True), [scaling])


def _triggers(model: ModelSpec, scaling: ScalingSpec, place: Place, *, alone: bool) -> list[Trigger]:
    end = "" if alone else f"-{model.name}"
    return [
        Trigger(f"in-flight{end}", in_flight(place), float(scaling.target * model.replicas)),
        Trigger(f"kv-cache{end}", kv_cache(place), round(scaling.kv_cache_usage * model.replicas, 6)),
    ]


def _rule(triggers: Sequence[Trigger], scalings: Sequence[ScalingSpec]) -> Rule:
    up = (Policy("Percent", 100, UP_PERIOD_SECONDS), Policy("Pods", UP_AT_LEAST, UP_PERIOD_SECONDS))
    down = (Policy("Pods", 1, max(scaling.down_period_seconds for scaling in scalings)),)
    return Rule(
        tuple(triggers),
        min_replicas=max(scaling.min_replicas for scaling in scalings),
        max_replicas=max(scaling.max_replicas for scaling in scalings),
        up=Direction(min(scaling.up_window_seconds for scaling in scalings), up),
        down=Direction(max(scaling.stabilisation_seconds for scaling in scalings), down),
        idle_seconds=max(scaling.idle_seconds for scaling in scalings),
    )
