"""``plan``: from a spec, its models' facts and a machine to a Plan, or to a CapacityError that says why. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache

from tritonfleet.errors import CapacityError
from tritonfleet.planner.demand import Demand, check_given, demand, gib, shortage
from tritonfleet.planner.devices import GIB, Gpu, Machine
from tritonfleet.planner.facts import ModelFacts
from tritonfleet.planner.layout import Placed, lay_out
from tritonfleet.planner.memory import CONTEXT_BYTES, usable
from tritonfleet.planner.packing import SearchTooLong, pack
from tritonfleet.planner.result import Plan
from tritonfleet.planner.units import Demands, Unit, units
from tritonfleet.spec.models import FleetSpec, ModelSpec

#: Engines that have a CPU version.
CPU_ENGINES = frozenset({"vllm", "llamacpp", "fake"})
#: Sequences of ``max_model_len`` for which each member of a group must have room if the group is called needless.
SIDE_BY_SIDE = 4


def plan(spec: FleetSpec, models: Mapping[str, ModelFacts], machine: Machine) -> Plan:
    """Return the plan of *spec* on *machine*; *models* holds each model's facts by its name.

    Raises CapacityError, with the arithmetic, if the fleet does not fit, and UsageError if the spec contradicts a
    model's shape. Named GPUs are kept; models over several GPUs get whole ones; the others spread over what is left,
    and share a GPU where there are not enough.
    """
    on_gpu = [model for model in spec.models if not runs_on_cpu(model, machine)]
    demands = _demands(models)
    todo = units(spec, on_gpu)
    for unit in todo:
        _check_alone(unit, machine, demands)
    capacities = [usable(gpu) for gpu in machine.gpus]
    items = [unit.item(machine.gpus, demands) for unit in todo]
    try:
        places = pack(items, capacities)
    except SearchTooLong as err:
        raise CapacityError(
            f"no placement of {len(items)} engines on {len(capacities)} GPUs was found in a long search; "
            "name GPUs under devices for some models"
        ) from err
    if places is None:
        raise CapacityError(_refusal(todo, machine, demands))
    placed = _in_spec_order([Placed(unit, places[unit.name]) for unit in todo], machine)
    on_cpu = [model for model in spec.models if runs_on_cpu(model, machine)]
    found = lay_out(spec, models, machine, placed, on_cpu, demands)
    return replace(found, notes=(*found.notes, *_needless_groups(spec, models, machine, found)))


def _needless_groups(spec: FleetSpec, models: Mapping[str, ModelFacts], machine: Machine, found: Plan) -> Iterator[str]:
    """Say of which share groups all members would fit at the same time, with room for several sequences each."""
    for group in found.groups:
        if not group.gpus or len(group.members) < 2:
            continue
        apart = spec.model_copy(update={"models": tuple(_apart(model, group.name) for model in spec.models)})
        try:
            other = plan(apart, models, machine)
        except CapacityError:
            continue
        names = {member.model for member in group.members}
        fewest = min((entry.concurrent for entry in other.replicas if entry.model in names and entry.known), default=0)
        if fewest >= SIDE_BY_SIDE:
            yield (
                f"share group {group.name}: its models fit side by side, with room for {fewest:.0f} sequences of "
                "max_model_len each; without share nobody waits for a turn"
            )


def _apart(model: ModelSpec, group: str) -> ModelSpec:
    alone: dict[str, object] = {"share": None, "keep_warm": False, "priority": 0}
    return model.model_copy(update=alone) if model.share == group else model


def runs_on_cpu(model: ModelSpec, machine: Machine) -> bool:
    """Say whether *model* gets the CPU: it says so, or there is no GPU and it needs no more than one.

    Raises CapacityError for an engine that needs a GPU.
    """
    if model.devices != "cpu" and (machine.gpus or model.gpus_per_replica > 1 or model.devices != "auto"):
        return False
    if model.engine not in CPU_ENGINES:
        raise CapacityError(f"{model.name}: the engine {model.engine} needs a GPU, and {machine.name} has none")
    return True


def _demands(models: Mapping[str, ModelFacts]) -> Demands:
    by_name: dict[str, ModelSpec] = {}

    @cache
    def find(name: str, gpu: Gpu) -> Demand | None:
        facts = models.get(name)
        return demand(by_name[name], facts, gpu) if facts is not None else None

    def demands(model: ModelSpec, gpu: Gpu) -> Demand | None:
        by_name[model.name] = model
        return find(model.name, gpu)

    return demands


def _in_spec_order(placed: Sequence[Placed], machine: Machine) -> list[Placed]:
    """Return *placed* with GPUs that are alike and unnamed exchanged, so that the first models have the first GPUs."""
    named = {gpu for entry in placed if entry.unit.fixed for gpu in entry.gpus}
    first: dict[int, int] = {}
    for index, entry in enumerate(placed):
        for number in entry.gpus:
            first.setdefault(number, index)
    alike: dict[tuple[Gpu, int], list[int]] = {}
    for number, gpu in enumerate(machine.gpus):
        if number not in named:
            alike.setdefault((gpu, gpu.taken_bytes), []).append(number)
    new = {number: number for number in range(len(machine.gpus))}
    for numbers in alike.values():
        wanted = sorted(numbers, key=lambda number: (first.get(number, len(placed)), number))
        new |= dict(zip(wanted, numbers, strict=True))
    return [
        Placed(entry.unit, tuple(sorted(new[gpu] for gpu in entry.gpus))) if not entry.unit.fixed else entry
        for entry in placed
    ]


def _check_alone(unit: Unit, machine: Machine, demands: Demands) -> None:
    """Raise CapacityError if *unit* would not even fit by itself."""
    unit.check_gpus(len(machine.gpus), machine.name)
    if len({machine.gpus[gpu] for gpu in unit.fixed or ()}) > 1:
        kinds = ", ".join(machine.gpus[gpu].kind for gpu in unit.fixed or ())
        raise CapacityError(
            f"{unit.models}: devices {list(unit.fixed or ())} are different kinds ({kinds}); name alike ones"
        )
    candidates = [machine.gpus[gpu] for gpu in unit.fixed] if unit.fixed else list(machine.gpus)
    largest = max(candidates, key=usable)
    for model, _ in unit.members:
        wanted = demands(model, largest)
        if wanted is not None:
            check_given(wanted, largest)
            available = usable(largest) - CONTEXT_BYTES
            if wanted.smallest > available:
                raise CapacityError(
                    f"{model.name} does not fit on a {largest.kind} of {machine.name}: {shortage(wanted, available)}"
                    + _taken(machine)
                )


def _refusal(todo: Sequence[Unit], machine: Machine, demands: Demands) -> str:
    """Return the arithmetic of a fleet whose parts fit but not together."""
    total = sum(gpu.total_bytes for gpu in machine.gpus)
    lines = []
    asked = 0
    for unit in todo:
        need = unit.needs(machine.gpus[(unit.fixed or (0,))[0]], demands)
        asked += need * unit.size
        where = f" on GPU {', '.join(map(str, unit.fixed))}" if unit.fixed else ""
        each = "" if unit.size == 1 else f" on each of {unit.size} {'' if unit.fixed else 'whole '}GPUs"
        lines.append(f"  {unit.name}: {gib(need)}{each}{where}")
    counts = {gpu: machine.gpus.count(gpu) for gpu in machine.gpus}
    kinds = ", ".join(f"{count} x {gpu.kind} with {gib(gpu.total_bytes)}" for gpu, count in counts.items())
    return (
        f"the fleet does not fit on {machine.name}: its engines need at least {gib(asked)} with their contexts, and "
        f"{gib(total)} are there ({kinds}), in pieces that do not hold them together:\n"
        + "\n".join(lines)
        + _taken(machine)
        + "\nlower max_model_len, let models take turns with share, quantise, or use a larger machine"
    )


def _taken(machine: Machine) -> str:
    """Return what other processes hold of the GPUs, as a line of a refusal; nothing where that is little."""
    held = [f"{gib(gpu.taken_bytes)} of GPU {n}" for n, gpu in enumerate(machine.gpus) if gpu.taken_bytes >= GIB]
    return f"\n  other processes hold {', '.join(held)}; `nvidia-smi` shows which" if held else ""
