"""What the plan gives to each model of a running fleet, as JSON for the console's picture of the memory."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from tritonfleet.errors import FleetError
from tritonfleet.planner import Plan, ReplicaPlan, machine_here, plan, read_facts
from tritonfleet.supervisor.prepared import Prepared


class MemoryMap:
    """Plans the fleet once, when somebody looks."""

    def __init__(self, prepared: Prepared) -> None:
        self._prepared = prepared
        self._found: dict[str, Any] | None = None
        self._lock = asyncio.Lock()

    async def read(self) -> dict[str, Any]:
        """Return the map; for a fleet that cannot be planned it has no pools and a note that says why."""
        async with self._lock:
            if self._found is None:
                self._found = await asyncio.to_thread(self._make)
            return self._found

    def _make(self) -> dict[str, Any]:
        try:
            facts = {model.spec.name: read_facts(model.spec, model.path) for model in self._prepared.models}
            return memory_map(plan(self._prepared.spec, facts, machine_here()))
        except FleetError as err:
            return {"pools": [], "notes": [f"The memory is not planned: {err}"]}


def memory_map(found: Plan) -> dict[str, Any]:
    """Return *found* as pools of memory, in pieces. Pure.

    A pool has ``name``, ``total_bytes``, ``free_bytes`` and ``segments`` of ``owner``, ``part`` and ``bytes``. A GPU
    that engines have for themselves, without a computed size, has no segments; ``notes`` name those engines.
    """
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
