"""How much of a node one pod asks for, and which instance types may carry it. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tritonfleet.planner.devices import GIB, Machine

#: Instance families that the Terraform of the project makes node pools for. g4dn is left out: its T4 has no bfloat16.
FAMILIES = ("g5", "g6", "g6e", "p4d", "p4de", "p5", "p5en")
#: Types with the same GPUs that may stand in for the cheapest one when a zone has none of it.
MOST_TYPES = 3
#: A stand-in costs at most this times the cheapest.
DEARER = 2.0
#: Nodes without GPUs: vCPUs and GiB of memory.
GENERAL_TYPES = {"m7i.xlarge": (4, 16), "m7i.2xlarge": (8, 32), "m7i.4xlarge": (16, 64), "m7i.8xlarge": (32, 128)}

#: vCPUs of a node for the kubelet and the agents that run on every node.
NODE_VCPUS = 1
#: Karpenter counts 7.5 % of an instance's memory as the hypervisor's; the kubelet and agents take about 2 GiB more.
NODE_MEMORY = 0.92
NODE_GIB = 2
#: Shared memory for each GPU: NCCL's buffers and Triton's regions.
SHARED_GIB_PER_GPU = 2
#: Disk beside the weights: compiled kernels, caches, logs.
CACHE_GIB = 20
#: On the CPU: cores for each engine, and memory beside what the plan counts (Triton, the doors, Python).
ENGINE_CORES = 3
DOORS_GIB = 3


@dataclass(frozen=True)
class Resources:
    """What one pod asks for."""

    cpu: int
    """Cores."""
    memory_gib: int
    shared_gib: int
    """Part of the memory that /dev/shm may take."""
    cache_gib: int
    """Disk for weights and caches."""


def family(instance_type: str) -> str:
    """Return the family of an instance type: g6 of g6.xlarge."""
    return instance_type.partition(".")[0]


def pod_memory_gib(machine: Machine, gpus: int) -> int:
    """Return the memory that a pod with *gpus* of the GPUs of *machine* may ask for."""
    return math.floor((_gib(machine.host_bytes) * NODE_MEMORY - NODE_GIB) * gpus / len(machine.gpus))


def gpu_resources(machine: Machine, gpus: int, weights_bytes: int) -> Resources:
    """Return what a pod with *gpus* of the GPUs of *machine* asks for: its part of the node."""
    part = gpus / len(machine.gpus)
    memory = pod_memory_gib(machine, gpus)
    return Resources(
        cpu=max(1, math.floor(((machine.vcpus or 2) - NODE_VCPUS) * part)),
        memory_gib=memory,
        shared_gib=max(1, min(SHARED_GIB_PER_GPU * gpus, memory // 4)),
        cache_gib=cache_gib(weights_bytes),
    )


def cpu_resources(engines: int, host_bytes: int, weights_bytes: int) -> Resources:
    """Return what a pod without GPUs asks for."""
    memory = math.ceil(_gib(host_bytes) * 1.1) + DOORS_GIB
    return Resources(ENGINE_CORES * engines, memory, max(1, min(2, memory // 4)), cache_gib(weights_bytes))


def cache_gib(weights_bytes: int) -> int:
    """Return the disk that holds the weights once, with room for what engines write beside them."""
    return math.ceil(_gib(weights_bytes) * 1.1) + CACHE_GIB


def stand_ins(chosen: Machine, machines: Sequence[Machine]) -> tuple[str, ...]:
    """Return the types that may run what was planned for *chosen*: itself, then larger ones with the same GPUs."""
    limit = DEARER * _hourly(chosen)
    alike = [
        machine.name
        for machine in sorted(machines, key=_hourly)
        if machine.gpus == chosen.gpus
        and _hourly(chosen) <= _hourly(machine) <= limit
        and machine.name != chosen.name
        and (machine.host_bytes or 0) >= (chosen.host_bytes or 0)
    ]
    return (chosen.name, *alike)[:MOST_TYPES]


def general_type(resources: Resources) -> str:
    """Return the smallest ordinary type that carries a pod; the largest known where none does."""
    for name, (vcpus, gib) in GENERAL_TYPES.items():
        if resources.cpu <= vcpus - NODE_VCPUS and resources.memory_gib <= gib * NODE_MEMORY - NODE_GIB:
            return name
    return next(reversed(GENERAL_TYPES))


def _gib(count: int | None) -> float:
    return (count or 0) / GIB


def _hourly(machine: Machine) -> float:
    return machine.price.usd_per_hour if machine.price else math.inf
