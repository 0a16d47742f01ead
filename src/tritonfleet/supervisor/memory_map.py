"""What the plan gives to each model, as JSON for the console's picture of the memory. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tritonfleet.planner import Plan, ReplicaPlan


def memory_map(found: Plan | None) -> dict[str, Any]:
    """Return *found* as pools of memory, in pieces; without a plan there are no pools, and a note says why.

    A pool has ``name``, ``total_bytes``, ``free_bytes`` and ``segments`` of ``owner``, ``part`` and ``bytes``. A GPU
    that engines have for themselves, without a computed size, has no segments; ``notes`` name those engines.
    """
    if found is None:
        return {"pools": [], "notes": ["The fleet came up with --ignore-plan, so there is no plan to show."]}
    pools = [
        _pool(
            f"GPU {gpu.number}: {gpu.kind}",
            gpu.total_bytes,
            [(segment.owner, segment.part, segment.bytes) for segment in gpu.segments],
        )
        for gpu in found.gpus
    ]
    host = [piece for replica in found.replicas for piece in _host_pieces(replica)]
    notes = list(found.notes)
    if not found.gpus:
        notes.append("No GPU here: the models run on the CPU and share the main memory.")
    if (host or not found.gpus) and found.machine.host_bytes:
        pools.append(_pool("Main memory", found.machine.host_bytes, host))
    unknown = [replica.name for replica in found.replicas if not replica.known]
    if unknown:
        notes.append(f"The size is not computed for: {', '.join(unknown)}.")
    return {"pools": pools, "notes": notes}


def _host_pieces(replica: ReplicaPlan) -> Iterable[tuple[str, str, int]]:
    if replica.gpus:
        yield replica.name, "asleep", replica.sleep.host_bytes if replica.sleep else 0
    else:
        yield replica.name, "weights", replica.weights_bytes
        yield replica.name, "KV cache", replica.kv_bytes
        yield replica.name, "activations", replica.activation_bytes


def _pool(name: str, total: int, pieces: Iterable[tuple[str, str, int]]) -> dict[str, Any]:
    segments = [{"owner": owner, "part": part, "bytes": size} for owner, part, size in pieces if size]
    free = total - sum(size for _, _, size in pieces)
    return {"name": name, "total_bytes": total, "free_bytes": max(0, free), "segments": segments}
