"""Share groups of a plan: what each member takes while awake, and how much the awake ones may take together. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from tritonfleet.planner.devices import Machine
from tritonfleet.planner.memory import CONTEXT_BYTES, usable
from tritonfleet.planner.result import GpuPlan, GroupPlan, MemberPlan, ReplicaPlan


def group_plans(replicas: Sequence[ReplicaPlan], gpus: Sequence[GpuPlan], machine: Machine) -> tuple[GroupPlan, ...]:
    """Return the share groups of *replicas*; *gpus* says what others take of the same GPUs.

    A member of which nothing is known, or that is on the CPU, counts as all that the resting members may have: one of
    them is awake at a time.
    """
    members: dict[str, list[ReplicaPlan]] = {}
    for replica in replicas:
        if replica.share:
            members.setdefault(replica.share, []).append(replica)
    return tuple(_group(name, entries, gpus, machine) for name, entries in members.items())


def _group(name: str, members: Sequence[ReplicaPlan], gpus: Sequence[GpuPlan], machine: Machine) -> GroupPlan:
    warm = sum(_need(entry) for entry in members if entry.keep_warm)
    largest = max((_need(entry) for entry in members if not entry.keep_warm), default=0)
    on_gpus = members[0].gpus
    measured = bool(on_gpus) and any(entry.known for entry in members)
    free = min((_free(machine, gpus[number], members) for number in on_gpus), default=0) if measured else 0
    turns = max(largest, free - warm, 1)  # what the resting members have; the plan saw to it that each fits
    return GroupPlan(
        name,
        on_gpus,
        warm + turns,
        tuple(_member(entry, _need(entry) if entry.keep_warm or _counts(entry) else turns) for entry in members),
    )


def _free(machine: Machine, gpu: GpuPlan, members: Sequence[ReplicaPlan]) -> int:
    """Return what a GPU has for the members that are awake, beside all others and what the members keep asleep."""
    names = {entry.name for entry in members}
    others = sum(segment.bytes for segment in gpu.segments if segment.owner not in names)
    asleep = sum(entry.sleep.resident_bytes for entry in members if entry.sleep)
    return usable(machine.gpus[gpu.number]) - others - asleep


def _counts(replica: ReplicaPlan) -> bool:
    return replica.known and bool(replica.gpus)


def _need(replica: ReplicaPlan) -> int:
    if not _counts(replica):
        return 0
    resident = replica.sleep.resident_bytes if replica.sleep else 0
    return replica.claim_bytes + CONTEXT_BYTES - resident


def _member(replica: ReplicaPlan, need: int) -> MemberPlan:
    sleep = replica.sleep
    if sleep is None:
        return MemberPlan(replica.model, need, replica.keep_warm, None, 0.0, 0.0)
    return MemberPlan(replica.model, need, replica.keep_warm, sleep.level, sleep.sleep_seconds, sleep.wake_seconds)
