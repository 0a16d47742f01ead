"""From a planned fleet to replayed rules: each scaled model with its trace, its speed and its price. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tritonfleet import planner
from tritonfleet.errors import UsageError
from tritonfleet.planner import Machine, ModelFacts, Plan
from tritonfleet.simulate.engine import Speed
from tritonfleet.simulate.scaling.comparison import Row, compare
from tritonfleet.simulate.speeds import Times, estimate
from tritonfleet.simulate.trace import Request, models_of
from tritonfleet.spec.models import FleetSpec, ModelSpec


@dataclass(frozen=True)
class Cluster:
    """What the replicas run on."""

    spec: FleetSpec
    facts: Mapping[str, ModelFacts]
    machine: Machine | None
    """The kind of machine that was asked for; None takes the cheapest for each pool."""
    times: Mapping[str, Times]
    """Measured ones by model; ``*`` stands for the others."""


@dataclass(frozen=True)
class Comparison:
    """All rows, and what has none."""

    rows: tuple[Row, ...]
    left_out: Mapping[str, str]
    """Models of the trace that have no rows, with the reason."""
    notes: tuple[str, ...]


def compare_all(
    cluster: Cluster, trace: Sequence[Request], start_minutes: Sequence[float], *, seed: int = 0
) -> Comparison:
    """Replay the trace of each model that has a ``scaling`` section.

    Raises UsageError if no model of the trace has one, and CapacityError if a pool fits on no machine.
    """
    rows: list[Row] = []
    left_out: dict[str, str] = {}
    notes: list[str] = []
    for name in models_of(trace):
        model = cluster.spec.model(name)
        if model is None or model.scaling is None:
            left_out[name] = "has no scaling section in fleet.yaml"
            continue
        own = [request for request in trace if request.model == name]
        found = _pool_plan(cluster, model)
        rows += compare(
            own,
            model,
            model.scaling,
            _speed(cluster, model, found),
            start_minutes=start_minutes,
            usd_per_hour=_price(found),
            seed=seed,
        )
        notes += _notes(cluster.spec, model)
    if not rows:
        raise UsageError(
            f"no model of the trace has a scaling section; write one for {next(iter(left_out))} in fleet.yaml, for "
            "example scaling: {max_replicas: 4, concurrency: 64} (docs/scaling.md says how to find the numbers)"
        )
    return Comparison(tuple(rows), left_out, tuple(notes))


def _pool_plan(cluster: Cluster, model: ModelSpec) -> Plan:
    """Plan one pod of the model's pool."""
    spec, pool = cluster.spec, cluster.spec.pool_of(model)
    members = tuple(other for other in spec.models if spec.pool_of(other) == pool)
    alone = spec.model_copy(update={"models": members})
    if cluster.machine is not None:
        return planner.plan(alone, cluster.facts, cluster.machine)
    return planner.cheapest(alone, cluster.facts, planner.instances())


def _speed(cluster: Cluster, model: ModelSpec, found: Plan) -> Speed:
    """Return the speed of a pod; its engines of the model count as one that is as wide as all of them."""
    measured = cluster.times.get(model.name) or cluster.times.get("*")
    if measured is not None:
        speed = measured.speed
    else:
        replica = next(replica for replica in found.replicas if replica.model == model.name)
        speed = estimate(replica, model, cluster.facts.get(model.name), found.machine)
    engines = model.replicas
    return replace(
        speed,
        tpot_seconds=tuple((batch * engines, seconds) for batch, seconds in speed.tpot_seconds),
        prefill_tokens_per_second=speed.prefill_tokens_per_second * engines,
        max_running=speed.max_running * engines,
        kv_tokens=speed.kv_tokens * engines,
        batch_tokens=speed.batch_tokens * engines,
    )


def _price(found: Plan) -> float | None:
    """Return what a pod costs an hour: its part of the machine's GPUs, or the machine."""
    if found.cost is None:
        return None
    used = {number for replica in found.replicas for number in replica.gpus}
    part = len(used) / len(found.machine.gpus) if used else 1.0
    return found.cost.usd_per_hour * part


def _notes(spec: FleetSpec, model: ModelSpec) -> list[str]:
    pool = spec.pool_of(model)
    others = [other.name for other in spec.models if spec.pool_of(other) == pool and other.name != model.name]
    if not others:
        return []
    return [f"{model.name} shares its pods with {', '.join(others)}; it is replayed alone, at the price of the pod"]
