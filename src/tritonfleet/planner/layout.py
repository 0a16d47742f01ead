"""From GPUs to bytes: once every engine has its GPUs, how much of each it may take, and what that buys. Pure.

A request that the user fixed stays. Engines that leave it to the plan get what they need and an equal part of what
is left of their GPUs, up to vLLM's own default share of the device. Members of a share group each get the whole of
the group's memory but what the sleeping ones keep.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tritonfleet.planner.demand import Demand, demand, gib
from tritonfleet.planner.devices import GIB, Gpu, Machine
from tritonfleet.planner.facts import ModelFacts
from tritonfleet.planner.groups import group_plans
from tritonfleet.planner.memory import CONTEXT_BYTES, DEFAULT_UTILIZATION, stored_and_counted, usable
from tritonfleet.planner.result import Cost, GpuPlan, Plan, ReplicaPlan, Segment
from tritonfleet.planner.sleeping import sleep_plans
from tritonfleet.planner.timing import cold_start_seconds
from tritonfleet.planner.units import Demands, Unit, has_memory, rests
from tritonfleet.spec.models import FleetSpec, ModelSpec

#: ``gpu_memory_utilization`` is written with this many steps, rounded down.
STEPS = 10_000
#: What an engine on the CPU gets for its KV cache (``CPU_KV_CACHE_BYTES`` of the vLLM adapter).
CPU_KV_BYTES = 1 * GIB
#: Stands for the CPU where vLLM's defaults are asked for.
_CPU = Gpu("cpu", 0, 1.0)


@dataclass(frozen=True)
class Placed:
    """A unit on its GPUs."""

    unit: Unit
    gpus: tuple[int, ...]


def lay_out(
    spec: FleetSpec,
    models: Mapping[str, ModelFacts],
    machine: Machine,
    placed: Sequence[Placed],
    on_cpu: Sequence[ModelSpec],
    demands: Demands,
) -> Plan:
    """Return the plan of *placed* units and of the models on the CPU."""
    spare = _spare(machine, placed, demands)
    replicas = [
        replica
        for entry in placed
        for replica in _replicas(entry, machine, demands, min((spare[gpu] for gpu in entry.gpus), default=0))
    ]
    replicas += [_on_cpu(model, replica, models) for model in on_cpu for replica in range(model.replicas)]
    order = {model.name: index for index, model in enumerate(spec.models)}
    replicas.sort(key=lambda replica: (order[replica.model], replica.replica))
    sleeping = sleep_plans(replicas, machine, spec)
    gpus = tuple(_gpu(number, gpu, sleeping.replicas) for number, gpu in enumerate(machine.gpus))
    price = machine.price
    return Plan(
        fleet=spec.name,
        machine=machine,
        replicas=sleeping.replicas,
        gpus=gpus,
        host_bytes=sleeping.host_bytes,
        groups=group_plans(sleeping.replicas, gpus, machine),
        cost=Cost(price.usd_per_hour, price.region, price.date) if price else None,
        notes=(*_notes(spec, models), *sleeping.notes),
    )


def _spare(machine: Machine, placed: Sequence[Placed], demands: Demands) -> list[int]:
    """Return for each GPU the bytes that each engine without a fixed request may take beyond its need."""
    result = []
    for number, gpu in enumerate(machine.gpus):
        here = [entry.unit for entry in placed if number in entry.gpus]
        used = sum(unit.needs(gpu, demands) for unit in here)
        slots = sum(_slots(unit, gpu, demands) for unit in here)
        limit = min(math.ceil(gpu.total_bytes * DEFAULT_UTILIZATION) + CONTEXT_BYTES, usable(gpu))
        result.append(max(0, limit - used) // slots if slots else 0)
    return result


def _slots(unit: Unit, gpu: Gpu, demands: Demands) -> int:
    """Return how many engines of *unit* that are awake together may grow."""
    free = [model for model, _ in unit.members if _may_grow(demands(model, gpu))]
    resting = [model for model in free if rests(model)]
    return len(free) - len(resting) + (1 if resting else 0)


def _may_grow(wanted: Demand | None) -> bool:
    return wanted is not None and wanted.given is None


def _replicas(entry: Placed, machine: Machine, demands: Demands, spare: int) -> list[ReplicaPlan]:
    result = []
    for model, replica in entry.unit.members:
        gpus = [machine.gpus[number] for number in entry.gpus]
        found = [demands(model, gpu) for gpu in gpus]
        wanted = [each for each in found if each is not None]
        if len(wanted) < len(found):
            result.append(_unknown(model, replica, entry.gpus))
            continue
        shares = [_share(entry.unit, model, each, gpu, demands, spare) for each, gpu in zip(wanted, gpus, strict=True)]
        result.append(_replica(model, replica, entry.gpus, gpus, wanted, shares))
    return result


def _share(unit: Unit, model: ModelSpec, wanted: Demand, gpu: Gpu, demands: Demands, spare: int) -> float | None:
    """Return the part of *gpu* that the engine requests; None where its KV cache is given in bytes."""
    if wanted.settings.kv_bytes is not None:
        return None
    if wanted.settings.utilization is not None:
        return wanted.settings.utilization
    claim = wanted.need + spare
    if rests(model):
        others = [
            each.need + CONTEXT_BYTES if not rests(other) else each.footprint.asleep
            for other, _ in unit.members
            if other.name != model.name and (each := demands(other, gpu)) is not None
        ]
        claim = unit.needs(gpu, demands) - sum(others) - CONTEXT_BYTES + spare
    steps = claim / gpu.total_bytes * STEPS
    down = math.floor(steps + 1e-6) / STEPS
    return down if down * gpu.total_bytes >= wanted.smallest else math.ceil(steps) / STEPS


def _replica(
    model: ModelSpec,
    replica: int,
    numbers: tuple[int, ...],
    gpus: Sequence[Gpu],
    wanted: Sequence[Demand],
    shares: Sequence[float | None],
) -> ReplicaPlan:
    """Return the plan of one engine; what differs between its GPUs is that of the tightest one."""
    share = None if shares[0] is None else min(part for part in shares if part is not None)
    claims = [
        each.need if share is None else math.ceil(gpu.total_bytes * share)
        for each, gpu in zip(wanted, gpus, strict=True)
    ]
    tightest = min(range(len(gpus)), key=lambda index: claims[index] - wanted[index].footprint.fixed)
    each, claim = wanted[tightest], claims[tightest]
    taken, longest = each.footprint, each.settings.max_model_len
    kv = claim - taken.fixed
    return ReplicaPlan(
        model=model.name,
        replica=replica,
        gpus=numbers,
        share=model.share,
        keep_warm=model.keep_warm,
        claim_bytes=claim,
        utilization=share,
        weights_bytes=taken.weights,
        activation_bytes=taken.activation + taken.lora,
        graph_bytes=taken.graphs + taken.cuda,
        kv_bytes=kv,
        kv_tokens=taken.cache.tokens(kv, longest),
        kv_bytes_per_token=taken.cache.bytes_per_token,
        max_model_len=longest,
        longest_context=taken.cache.longest(kv, each.limit),
        concurrent=taken.cache.sequences(kv, longest),
        sleep=None,
        cold_start_seconds=cold_start_seconds(taken.weights * len(gpus)),
    )


def _unknown(model: ModelSpec, replica: int, gpus: tuple[int, ...], weights: int = 0) -> ReplicaPlan:
    return ReplicaPlan(
        model=model.name, replica=replica, gpus=gpus, share=model.share, keep_warm=model.keep_warm, claim_bytes=0,
        utilization=None, weights_bytes=weights, activation_bytes=0, graph_bytes=0, kv_bytes=0, kv_tokens=0,
        kv_bytes_per_token=0, max_model_len=model.max_model_len or 0, longest_context=0, concurrent=0.0, sleep=None,
        cold_start_seconds=cold_start_seconds(weights, on_cpu=not gpus), known=False,
    )  # fmt: skip


def _on_cpu(model: ModelSpec, replica: int, models: Mapping[str, ModelFacts]) -> ReplicaPlan:
    facts = models.get(model.name)
    wanted = demand(model, facts, _CPU) if facts else None
    if wanted is None:
        return _unknown(model, replica, (), facts.file_bytes if facts else 0)
    taken, longest = wanted.footprint, wanted.settings.max_model_len
    kv = wanted.settings.kv_bytes or CPU_KV_BYTES
    return ReplicaPlan(
        model=model.name,
        replica=replica,
        gpus=(),
        share=model.share,
        keep_warm=model.keep_warm,
        claim_bytes=0,
        utilization=None,
        weights_bytes=taken.weights,
        activation_bytes=taken.activation,
        graph_bytes=0,
        kv_bytes=kv,
        kv_tokens=taken.cache.tokens(kv, longest),
        kv_bytes_per_token=taken.cache.bytes_per_token,
        max_model_len=longest,
        longest_context=taken.cache.longest(kv, wanted.limit),
        concurrent=taken.cache.sequences(kv, longest),
        sleep=None,
        cold_start_seconds=cold_start_seconds(taken.weights, on_cpu=True),
    )


def _gpu(number: int, gpu: Gpu, replicas: Sequence[ReplicaPlan]) -> GpuPlan:
    """Return the pieces of one GPU; of the resting members of a group the largest is drawn awake."""
    here = [replica for replica in replicas if number in replica.gpus and replica.known]
    awake: dict[str, ReplicaPlan] = {}
    for replica in here:
        if replica.share and not replica.keep_warm:
            best = awake.get(replica.share)
            if best is None or _more(replica) > _more(best):
                awake[replica.share] = replica
    segments: list[Segment] = []
    for replica in here:
        resting = replica.share and not replica.keep_warm and awake[replica.share] is not replica
        segments += _asleep(replica) if resting else _awake(replica, gpu)
    return GpuPlan(number, gpu.kind, gpu.total_bytes, tuple(segments))


def _more(replica: ReplicaPlan) -> int:
    """Return what being awake adds to what a sleeping engine keeps."""
    return replica.claim_bytes - replica.graph_bytes


def _awake(replica: ReplicaPlan, gpu: Gpu) -> list[Segment]:
    claim = replica.claim_bytes if replica.utilization is None else math.ceil(gpu.total_bytes * replica.utilization)
    rest = claim - replica.weights_bytes - replica.activation_bytes - replica.graph_bytes
    return [
        Segment(replica.name, "weights", replica.weights_bytes),
        Segment(replica.name, "KV cache", rest),
        Segment(replica.name, "activations", replica.activation_bytes),
        Segment(replica.name, "graphs", replica.graph_bytes),
        Segment(replica.name, "context", CONTEXT_BYTES),
    ]


def _asleep(replica: ReplicaPlan) -> list[Segment]:
    return [Segment(replica.name, "asleep", replica.graph_bytes + CONTEXT_BYTES)]


def _notes(spec: FleetSpec, models: Mapping[str, ModelFacts]) -> list[str]:
    notes = []
    for model in spec.models:
        facts = models.get(model.name)
        if facts is None or facts.architecture is None:
            if has_memory(model):
                why = f" ({facts.unknown})" if facts and facts.unknown else ""
                notes.append(f"{model.name}: its memory is not computed; watch it when the fleet starts{why}")
            continue
        notes += [f"{model.name}: {note}" for note in facts.architecture.notes]
        if facts.stored is None:
            notes.append(f"{model.name}: sizes are counted from config.json alone; the weights are not here")
        elif apart := stored_and_counted(facts.architecture, facts.stored):
            notes.append(
                f"{model.name}: its files hold {gib(apart[0])} of weights where its shape asks for {gib(apart[1])}; "
                "the files are believed: are they complete?"
            )
        if model.engine not in ("vllm", "fake"):
            notes.append(
                f"{model.name}: the sums are those of vLLM; {model.engine} divides its memory by its own rules"
            )
    return notes
