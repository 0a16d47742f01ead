"""Which GPUs, cores and memory each engine gets: the plan, or mere counting where the plan is ignored. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tritonfleet.errors import CapacityError, UsageError
from tritonfleet.planner.devices import Machine
from tritonfleet.planner.facts import ModelFacts
from tritonfleet.planner.layout import STEPS
from tritonfleet.planner.planning import plan, runs_on_cpu
from tritonfleet.planner.result import GroupPlan, MemberPlan, Plan, ReplicaPlan, SleepLevel
from tritonfleet.planner.sleeping import can_sleep
from tritonfleet.planner.units import Unit, units
from tritonfleet.spec.models import FleetSpec, ModelSpec


@dataclass(frozen=True)
class Place:
    """Devices of one replica."""

    model: str
    replica: int
    gpus: tuple[int, ...]
    """GPU numbers; empty means the CPU."""
    cores: tuple[int, ...]
    """Cores for an engine on the CPU; empty for one on GPUs."""
    memory_share: float | None = None
    """Part of each GPU's memory that the engine may take; None leaves it to the engine."""
    sleep: SleepLevel | None = None
    """How it gives its device away; None for a model that never has to."""

    def __str__(self) -> str:
        return f"gpu {','.join(map(str, self.gpus))}" if self.gpus else "cpu"


@dataclass(frozen=True)
class Placement:
    """Where a whole fleet goes."""

    places: tuple[Place, ...]
    """In the order of the spec."""
    groups: tuple[GroupPlan, ...]
    plan: Plan | None
    """None where the plan was ignored."""
    warnings: tuple[str, ...] = ()

    def of(self, model: str) -> tuple[Place, ...]:
        """Return the places of *model*'s replicas."""
        return tuple(place for place in self.places if place.model == model)


def place(
    spec: FleetSpec,
    facts: Mapping[str, ModelFacts],
    machine: Machine,
    cores: Sequence[int],
    *,
    ignore_plan: bool = False,
) -> Placement:
    """Place every replica of *spec* as the plan says; the *cores* are dealt out to the engines on the CPU.

    With *ignore_plan*, a fleet that the plan refuses is placed by counting GPUs, with a warning that holds the plan's
    reason. Raises CapacityError, with the arithmetic, if the fleet does not fit, and UsageError if the spec contradicts
    a model's shape.
    """
    try:
        found = plan(spec, facts, machine)
    except (CapacityError, UsageError) as err:
        if not ignore_plan:
            raise type(err)(f"{err}\n`up --ignore-plan` starts it all the same") from err
        warning = f"the plan is ignored, and engines may run out of memory: {err}"
        return replace(place_by_count(spec, machine, cores), warnings=(warning,))
    places = [_planned(replica, machine) for replica in found.replicas]
    return Placement(_with_cores(places, cores), found.groups, found)


def place_by_count(spec: FleetSpec, machine: Machine, cores: Sequence[int]) -> Placement:
    """Place every replica of *spec* on the GPUs that have the fewest engines, whatever memory that takes.

    Raises CapacityError if a named GPU does not exist, or an engine takes more GPUs than there are.
    """
    users = [0] * len(machine.gpus)
    on_gpus = [model for model in spec.models if not runs_on_cpu(model, machine)]
    places = [
        Place(model.name, replica, (), (), sleep=_level(model, spec))
        for model in spec.models
        if model not in on_gpus
        for replica in range(model.replicas)
    ]
    for unit in sorted(units(spec, on_gpus), key=lambda unit: unit.fixed is None):
        gpus = _emptiest(unit, users, machine)
        places += [Place(model.name, replica, gpus, (), sleep=_level(model, spec)) for model, replica in unit.members]
    order = {model.name: index for index, model in enumerate(spec.models)}
    places.sort(key=lambda entry: (order[entry.model], entry.replica))
    return Placement(_with_cores(places, cores), _groups_by_count(spec, places), None)


def place_beside(taken: Sequence[Place], spec: ModelSpec, machine: Machine, cores: Sequence[int]) -> tuple[Place, ...]:
    """Place a model that came later on the GPUs with the fewest engines; on the CPU it gets its part of all cores."""
    if runs_on_cpu(spec, machine):
        shares = deal(cores, sum(not entry.gpus for entry in taken) + spec.replicas)
        return tuple(Place(spec.name, number, (), shares[number - spec.replicas]) for number in range(spec.replicas))
    users = [sum(gpu in entry.gpus for entry in taken) for gpu in range(len(machine.gpus))]
    alone = FleetSpec.model_construct(models=(spec,))
    return tuple(
        Place(spec.name, replica, gpus, ())
        for unit in units(alone, (spec,))
        for gpus in [_emptiest(unit, users, machine)]
        for _, replica in unit.members
    )


def deal(cores: Sequence[int], hands: int) -> list[tuple[int, ...]]:
    """Split *cores* into *hands* even, contiguous shares of at least one core each (shared when too few)."""
    if hands == 0:
        return []
    if len(cores) < hands:
        return [(cores[hand % len(cores)],) for hand in range(hands)] if cores else [()] * hands
    size, extra = divmod(len(cores), hands)
    shares, start = [], 0
    for hand in range(hands):
        end = start + size + (1 if hand < extra else 0)
        shares.append(tuple(cores[start:end]))
        start = end
    return shares


def _planned(replica: ReplicaPlan, machine: Machine) -> Place:
    level = replica.sleep.level if replica.sleep else None
    return Place(replica.model, replica.replica, replica.gpus, (), _memory_share(replica, machine), level)


def _memory_share(replica: ReplicaPlan, machine: Machine) -> float | None:
    """Return the part of its GPUs that an engine may take.

    vLLM holds it against what is free before it starts, even where the KV cache is given in bytes.
    """
    if replica.utilization is not None or not replica.gpus or not replica.known:
        return replica.utilization
    smallest = min(machine.gpus[gpu].total_bytes for gpu in replica.gpus)
    return math.ceil(replica.claim_bytes / smallest * STEPS) / STEPS


def _with_cores(places: Sequence[Place], cores: Sequence[int]) -> tuple[Place, ...]:
    shares = deal(cores, sum(not entry.gpus for entry in places))
    return tuple(entry if entry.gpus else replace(entry, cores=shares.pop(0)) for entry in places)


def _emptiest(unit: Unit, users: list[int], machine: Machine) -> tuple[int, ...]:
    """Take the GPUs of *unit*: those it names, or those with the fewest users."""
    unit.check_gpus(len(users), machine.name)
    gpus = unit.fixed or tuple(sorted(sorted(range(len(users)), key=lambda gpu: (users[gpu], gpu))[: unit.size]))
    for gpu in gpus:
        users[gpu] += 1
    return gpus


def _level(model: ModelSpec, spec: FleetSpec) -> SleepLevel | None:
    """Return how a member of a share group gives its device away while nothing of its memory is known."""
    if model.share is None or model.keep_warm:
        return None
    if not can_sleep(model):
        return "stop"
    asked = spec.sharing(model.share).sleep
    return 1 if asked == "auto" else asked


def _groups_by_count(spec: FleetSpec, places: Sequence[Place]) -> tuple[GroupPlan, ...]:
    """Return share groups in which one resting member is awake at a time."""
    where = {entry.model: entry for entry in places}
    members: dict[str, list[ModelSpec]] = {}
    for model in spec.models:
        if model.share:
            members.setdefault(model.share, []).append(model)
    return tuple(
        GroupPlan(
            name,
            where[group[0].name].gpus,
            1,
            tuple(
                MemberPlan(model.name, 0 if model.keep_warm else 1, model.keep_warm, where[model.name].sleep, 0.0, 0.0)
                for model in group
            ),
        )
        for name, group in members.items()
    )
