"""How the members of share groups sleep: at which level, with how much host memory, how fast. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tritonfleet.engines import adapter
from tritonfleet.errors import CapacityError
from tritonfleet.planner.demand import gib
from tritonfleet.planner.devices import GIB, Machine
from tritonfleet.planner.memory import CONTEXT_BYTES
from tritonfleet.planner.result import ReplicaPlan, SleepLevel, SleepPlan
from tritonfleet.planner.timing import STOP_SECONDS, first_sleep_seconds, reload_seconds, sleep_seconds, wake_seconds
from tritonfleet.spec.models import FleetSpec, ModelSpec

#: Host memory that stays for the system and the engines' own processes; a cautious guess.
HOST_RESERVE_BYTES = 8 * GIB


@dataclass(frozen=True)
class Sleeping:
    """The engines with their ways of sleeping, and what the host must hold for the whole fleet."""

    replicas: tuple[ReplicaPlan, ...]
    host_bytes: int
    notes: tuple[str, ...]


def sleep_plans(replicas: Sequence[ReplicaPlan], machine: Machine, spec: FleetSpec) -> Sleeping:
    """Return *replicas* with the way each resting member of a group sleeps.

    Level 1 is quickest and keeps the weights in host memory; where that is too small, the members that need most of
    it sleep at level 2, or stop if they have LoRA adapters, which vLLM does not bring back from there. Engines that
    cannot sleep stop. On the CPU a sleep frees nothing: where the host holds all engines they keep their memory, else
    the resting ones stop. Host memory that is not known counts as enough.

    Raises CapacityError if the engines on the CPU need more than the host has.
    """
    levels: dict[str, SleepLevel] = {}
    unable = {model.name for model in spec.models if not can_sleep(model)}
    resting = [replica for replica in replicas if replica.share and not replica.keep_warm]
    for replica in resting:
        asked = spec.sharing(replica.share or "").sleep
        chosen: SleepLevel = 1 if asked == "auto" else asked
        levels[replica.model] = "stop" if replica.model in unable else chosen
    cpu_bytes = _on_cpu(replicas, levels, machine)
    notes: list[str] = []
    if machine.host_bytes is not None:
        with_lora = {model.name for model in spec.models if model.lora}
        budget = machine.host_bytes - HOST_RESERVE_BYTES - cpu_bytes
        free = [entry for entry in resting if entry.gpus and spec.sharing(entry.share or "").sleep == "auto"]
        budget -= sum(_all_weights(entry) for entry in resting if entry not in free and levels[entry.model] == 1)
        notes = _keep_within(budget, free, levels, with_lora)
    done = tuple(_with_sleep(entry, machine, levels.get(entry.model)) for entry in replicas)
    return Sleeping(
        done, cpu_bytes + sum(entry.sleep.host_bytes for entry in done if entry.sleep and entry.gpus), tuple(notes)
    )


def can_sleep(model: ModelSpec) -> bool:
    """Say whether the engine of *model* has calls to sleep and wake."""
    return adapter(model.engine).sleep(1) is not None


def _on_cpu(replicas: Sequence[ReplicaPlan], levels: dict[str, SleepLevel], machine: Machine) -> int:
    """Return what the engines on the CPU take; those that rest stop if the host cannot hold all."""
    here = [replica for replica in replicas if not replica.gpus]
    total = _taken(here, levels)
    if machine.host_bytes is None:
        return total
    if total > machine.host_bytes - HOST_RESERVE_BYTES:
        levels |= {replica.model: "stop" for replica in here if replica.model in levels}
        total = _taken(here, levels)
    if total > machine.host_bytes:
        parts = "\n".join(f"  {entry.name}: {gib(_memory(entry))}" for entry in here if _memory(entry))
        raise CapacityError(
            f"engines on the CPU need {gib(total)}, and {machine.name} has {gib(machine.host_bytes)} of memory:\n"
            f"{parts}\nuse smaller or quantised models, or a larger machine"
        )
    return total


def _taken(here: Sequence[ReplicaPlan], levels: dict[str, SleepLevel]) -> int:
    """Return the host memory of engines on the CPU; of those that stop, the largest of each group runs."""
    stopping = [entry for entry in here if levels.get(entry.model) == "stop"]
    largest: dict[str | None, int] = {}
    for entry in stopping:
        largest[entry.share] = max(largest.get(entry.share, 0), _memory(entry))
    return sum(_memory(entry) for entry in here if entry not in stopping) + sum(largest.values())


def _keep_within(
    budget: int, resting: Sequence[ReplicaPlan], levels: dict[str, SleepLevel], with_lora: set[str]
) -> list[str]:
    """Lower *levels* until the weights that sleep in host memory fit into *budget*; return notes for the user."""
    kept = sum(_all_weights(entry) for entry in resting if levels[entry.model] == 1)
    largest_first = sorted(resting, key=_all_weights, reverse=True)
    notes = []
    lower: tuple[tuple[SleepLevel, bool, str], ...] = ((2, False, "sleep at level 2"), ("stop", True, "stop"))
    for level, lora, words in lower:
        lowered = []
        for entry in largest_first:
            if kept > budget and levels[entry.model] == 1 and (entry.model in with_lora) is lora and entry.known:
                levels[entry.model] = level
                kept -= _all_weights(entry)
                lowered.append(entry.model)
        if lowered:
            notes.append(f"host memory is too small to keep all weights: {', '.join(sorted(lowered))} {words}")
    if kept > budget:
        notes.append(f"sleeping models need {gib(kept - budget)} more of host memory than is there for them")
    return notes


def _memory(replica: ReplicaPlan) -> int:
    return replica.weights_bytes + replica.kv_bytes


def _all_weights(replica: ReplicaPlan) -> int:
    return replica.weights_bytes * len(replica.gpus)


def _with_sleep(replica: ReplicaPlan, machine: Machine, level: SleepLevel | None) -> ReplicaPlan:
    if level is None:
        return replica
    if level == "stop":
        return replace(replica, sleep=SleepPlan("stop", 0, 0, STOP_SECONDS, replica.cold_start_seconds, STOP_SECONDS))
    if not replica.gpus:
        return replace(replica, sleep=SleepPlan(level, 0, _memory(replica), 0.0, 0.0, 0.0))
    link = min(machine.gpus[number].pcie_bytes_per_second for number in replica.gpus)
    up = wake_seconds(replica.weights_bytes, link)
    resident = replica.graph_bytes + CONTEXT_BYTES if replica.known else 0
    if level == 2:
        up += reload_seconds(_all_weights(replica))
        return replace(replica, sleep=SleepPlan(2, resident, 0, 0.0, up, 0.0))
    down, first = (seconds(replica.weights_bytes, link) for seconds in (sleep_seconds, first_sleep_seconds))
    return replace(replica, sleep=SleepPlan(1, resident, _all_weights(replica), down, up, first))
