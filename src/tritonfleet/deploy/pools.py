"""The pools of a fleet: which models share a pod, on what, and how much it asks for. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tritonfleet import planner
from tritonfleet.deploy import sizes
from tritonfleet.deploy.cluster_spec import ClusterFleet, near
from tritonfleet.deploy.sizes import Resources
from tritonfleet.errors import CapacityError, UsageError
from tritonfleet.planner import Machine, ModelFacts, Plan
from tritonfleet.planner.devices import GIB
from tritonfleet.spec.models import ModelSpec


@dataclass(frozen=True)
class Pool:
    """Models that share a pod and scale together."""

    name: str
    models: tuple[ModelSpec, ...]
    nodes: int
    """Nodes under one replica; more than one for models larger than a node."""
    gpus: int
    """GPUs of each pod; 0 runs on the CPU."""
    node_gpus: int
    """GPUs of the instance type."""
    instance_types: tuple[str, ...]
    """The one that was planned for, then those that may stand in for it."""
    resources: Resources
    minimum: int
    """Replicas at least."""
    maximum: int
    """Replicas at most."""
    usd_per_hour: float | None
    """On-demand list price of one replica's nodes."""


def plan_pools(
    fleet: ClusterFleet, facts: Mapping[str, ModelFacts], chosen: Mapping[str, str] | None = None
) -> tuple[Pool, ...]:
    """Return the pools of *fleet*, each on the cheapest instance type that holds it.

    *chosen* names the instance type of some pools. Raises CapacityError with the arithmetic where a pool fits nowhere,
    UsageError for a pool or an instance type that is not known.
    """
    members: dict[str, list[ModelSpec]] = {}
    for model in fleet.spec.models:
        members.setdefault(model.pool or model.name, []).append(model)
    for name in chosen or {}:
        if name not in members:
            raise UsageError(f"--instance: there is no pool {name!r}; {near(name, members)}")
    return tuple(_pool(fleet, name, tuple(models), facts, (chosen or {}).get(name)) for name, models in members.items())


def _pool(
    fleet: ClusterFleet, name: str, models: tuple[ModelSpec, ...], facts: Mapping[str, ModelFacts], wanted: str | None
) -> Pool:
    spec = fleet.spec.model_copy(update={"models": models})
    minimum, maximum = replica_range(models, fleet.replicas[name])
    if all(model.devices == "cpu" for model in models):
        if wanted is not None:
            raise UsageError(f"--instance: the models of the pool {name!r} run on the CPU (devices: cpu)")
        plan = planner.plan(spec, facts, Machine("a node without GPUs", ()))
        resources = sizes.cpu_resources(len(plan.replicas), plan.host_bytes, _weights(plan))
        kind = sizes.general_type(resources)
        return Pool(name, spec.models, 1, 0, 0, (kind,), resources, minimum, maximum, None)
    nodes = _nodes(name, spec.models)
    machines = [planner.machine_of_instance(wanted)] if wanted else supported_machines()
    try:
        plan = planner.cheapest(spec, facts, [_joined(machine, nodes) for machine in machines])
    except CapacityError as err:
        raise CapacityError(f"pool {name}: {err}") from err
    used = len({gpu for replica in plan.replicas for gpu in replica.gpus}) // nodes
    machine = next(entry for entry in machines if _joined(entry, nodes).name == plan.machine.name)
    return Pool(
        name,
        spec.models,
        nodes,
        used,
        len(machine.gpus),
        (machine.name,) if wanted else sizes.stand_ins(machine, machines),
        sizes.gpu_resources(machine, used, _weights(plan)),
        minimum,
        maximum,
        machine.price.usd_per_hour * nodes if machine.price else None,
    )


def replica_range(models: Sequence[ModelSpec], fixed: int) -> tuple[int, int]:
    """Return the fewest and the most replicas of a pool: the most that its models ask for, *fixed* without scaling."""
    rules = [model.scaling for model in models if model.scaling is not None]
    if not rules:
        return fixed, fixed
    return max(rule.min_replicas for rule in rules), max(rule.max_replicas for rule in rules)


def supported_machines() -> list[Machine]:
    """Return the instance types that node pools are made for, the cheapest first."""
    return [machine for machine in planner.instances() if sizes.family(machine.name) in sizes.FAMILIES]


def _nodes(name: str, models: Sequence[ModelSpec]) -> int:
    """Return the nodes under one replica: one, unless a model needs more GPUs than any instance has."""
    largest = max(len(machine.gpus) for machine in supported_machines())
    wide = [model for model in models if model.gpus_per_replica > largest]
    if not wide:
        return 1
    model = wide[0]
    if len(models) > 1:
        raise UsageError(
            f"{model.name} is larger than a node, so it needs a pool of its own; the pool {name!r} has more"
        )
    if model.tensor_parallel > largest:
        raise UsageError(
            f"{model.name}: tensor_parallel {model.tensor_parallel} reaches over nodes, whose links are slow; write "
            f"tensor_parallel: {largest} and a larger pipeline_parallel, which counts the nodes"
        )
    if model.engine != "vllm":
        raise UsageError(f"{model.name}: only the engine vllm reaches over several nodes, not {model.engine}")
    return model.pipeline_parallel


def _joined(machine: Machine, nodes: int) -> Machine:
    """Return *nodes* machines as one, with the memory that pods may use; each stage of a pipeline is on one of them."""
    memory = sizes.pod_memory_gib(machine, len(machine.gpus)) * GIB
    name = machine.name if nodes == 1 else f"{nodes} x {machine.name}"
    return replace(machine, name=name, gpus=machine.gpus * nodes, host_bytes=memory * nodes)


def _weights(plan: Plan) -> int:
    """Return the bytes of the weights of every model once."""
    by_model = {replica.model: replica.weights_bytes * max(1, len(replica.gpus)) for replica in plan.replicas}
    return sum(by_model.values())
