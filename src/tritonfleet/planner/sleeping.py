"""How the members of share groups sleep: at which level, with how much host memory, how fast. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tritonfleet.planner.demand import gib
from tritonfleet.planner.devices import GIB, Machine
from tritonfleet.planner.memory import CONTEXT_BYTES
from tritonfleet.planner.result import ReplicaPlan, SleepPlan
from tritonfleet.planner.timing import reload_seconds, sleep_seconds, wake_seconds
from tritonfleet.spec.models import FleetSpec

#: Host memory that stays for the system and the engines' own processes; a cautious guess.
HOST_RESERVE_BYTES = 8 * GIB


def sleep_plans(
    replicas: Sequence[ReplicaPlan], machine: Machine, cpu_bytes: int, spec: FleetSpec
) -> tuple[list[ReplicaPlan], list[str]]:
    """Return *replicas* with the way each resting member of a group sleeps, and notes for the user.

    Level 1 is quickest and keeps the weights in host memory; where that is too small, the members that need most of
    it sleep at level 2. Host memory that is not known counts as enough. Level 2 is never chosen for a model with LoRA
    adapters, which vLLM does not bring back.
    """
    resting = [replica for replica in replicas if replica.share and not replica.keep_warm and replica.gpus]
    resting = [replica for replica in resting if replica.known]
    budget = None if machine.host_bytes is None else machine.host_bytes - HOST_RESERVE_BYTES - cpu_bytes
    dropped: set[str] = set()
    with_lora = {model.name for model in spec.models if model.lora}
    kept = sum(_all_weights(replica) for replica in resting)
    for replica in sorted(resting, key=_all_weights, reverse=True):
        if budget is None or kept <= budget:
            break
        if replica.model not in with_lora:
            dropped.add(replica.model)
            kept -= _all_weights(replica)
    notes = []
    if dropped:
        notes.append(f"host memory is too small to keep all weights: {', '.join(sorted(dropped))} sleep at level 2")
    if resting and budget is not None and kept > budget:
        notes.append(f"sleeping models need {gib(kept)} of host memory, and {gib(max(0, budget))} are there for them")
    if machine.host_bytes is not None and cpu_bytes > machine.host_bytes:
        notes.append(f"engines on the CPU need {gib(cpu_bytes)}, and {machine.name} has {gib(machine.host_bytes)}")
    return [_with_sleep(replica, machine, dropped) if replica in resting else replica for replica in replicas], notes


def _all_weights(replica: ReplicaPlan) -> int:
    return replica.weights_bytes * len(replica.gpus)


def _with_sleep(replica: ReplicaPlan, machine: Machine, dropped: set[str]) -> ReplicaPlan:
    link = min(machine.gpus[number].pcie_bytes_per_second for number in replica.gpus)
    deep = replica.model in dropped
    down = sleep_seconds(replica.weights_bytes, link)
    up = wake_seconds(replica.weights_bytes, link)
    return replace(
        replica,
        sleep=SleepPlan(
            level=2 if deep else 1,
            resident_bytes=replica.graph_bytes + CONTEXT_BYTES,
            host_bytes=0 if deep else _all_weights(replica),
            sleep_seconds=0.0 if deep else down,
            wake_seconds=up + reload_seconds(_all_weights(replica)) if deep else up,
        ),
    )
