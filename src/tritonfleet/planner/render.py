"""A plan as tables for the terminal and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tritonfleet.planner.demand import gib
from tritonfleet.planner.devices import Machine
from tritonfleet.planner.result import GpuPlan, Plan, ReplicaPlan


def to_json(plan: Plan) -> dict[str, Any]:
    """Return the plan as JSON values; sizes are bytes, times seconds."""
    data = asdict(plan)
    for entry, gpu in zip(data["gpus"], plan.gpus, strict=True):
        entry |= {"used_bytes": gpu.used_bytes, "free_bytes": gpu.free_bytes}
    if plan.cost:
        data["cost"]["usd_per_million_tokens"] = plan.cost.usd_per_million_tokens
    data["rejected"] = [{"instance": name, "reason": reason} for name, reason in plan.rejected]
    return data


def plan_view(plan: Plan) -> RenderableType:
    """Return what ``tritonfleet plan`` shows."""
    parts: list[RenderableType] = [_heading(plan)]
    if plan.gpus:
        parts += [Text(""), _gpu_table(plan)]
    parts += [Text(""), _engine_table(plan)]
    if any(replica.sleep for replica in plan.replicas):
        parts += [Text(""), _sleep_table(plan)]
    if plan.rejected:
        parts += [Text(""), *_rejected(plan)]
    parts += [Text(f"note: {note}", style="yellow") for note in plan.notes]
    return Group(*parts)


def _heading(plan: Plan) -> Text:
    text = Text.assemble(("fleet ", "bold"), plan.fleet, ("  on ", "bold"), _machine(plan.machine))
    if plan.host_bytes:
        text.append(f"\nhost memory for sleeping models and engines on the CPU: {gib(plan.host_bytes)}")
    if cost := plan.cost:
        text.append(f"\n${cost.usd_per_hour:,.4g}/hour on demand in {cost.region}, list price of {cost.price_date}")
        if (price := cost.usd_per_million_tokens) is not None:
            text.append(f"\n${price:,.3f} per million tokens at {cost.tokens_per_second:,.0f} tokens/s")
    return text


def _machine(machine: Machine) -> str:
    kinds: dict[str, int] = {}
    for gpu in machine.gpus:
        kinds[gpu.kind] = kinds.get(gpu.kind, 0) + 1
    parts = [f"{count} x {kind}" for kind, count in kinds.items()] or ["no GPU"]
    if machine.vcpus:
        parts.append(f"{machine.vcpus} vCPUs")
    if machine.host_bytes:
        parts.append(f"{gib(machine.host_bytes)} of memory")
    return f"{machine.name} ({', '.join(parts)})"


def _gpu_table(plan: Plan) -> Table:
    table = _table(("GPU", 0), ("ENGINE", 0), ("WEIGHTS", 1), ("KV CACHE", 1), ("ACTIVE", 1), ("CUDA", 1))
    table.add_column("LEFT", justify="right")
    for gpu in plan.gpus:
        owners = list(dict.fromkeys(segment.owner for segment in gpu.segments))
        for index, owner in enumerate(owners):
            left = gib(gpu.free_bytes) if index == len(owners) - 1 else ""
            table.add_row(_gpu_name(gpu) if index == 0 else "", owner, *_parts(gpu, owner), left)
        if not owners:
            table.add_row(_gpu_name(gpu), "-", "", "", "", "", gib(gpu.free_bytes))
    return table


def _gpu_name(gpu: GpuPlan) -> str:
    return f"{gpu.number} {gpu.kind} {gib(gpu.total_bytes)}"


def _parts(gpu: GpuPlan, owner: str) -> tuple[str, ...]:
    sizes: dict[str, int] = {}
    for segment in gpu.segments:
        if segment.owner == owner:
            sizes[segment.part] = sizes.get(segment.part, 0) + segment.bytes
    if "asleep" in sizes:
        return ("asleep", "", "", gib(sizes["asleep"]))
    rest = sizes.get("graphs", 0) + sizes.get("context", 0)
    return gib(sizes["weights"]), gib(sizes["KV cache"]), gib(sizes["activations"]), gib(rest)


def _engine_table(plan: Plan) -> Table:
    table = _table(
        ("ENGINE", 0), ("RUNS ON", 0), ("KV TOKENS", 1), ("CONTEXT", 1), ("AT ONCE", 1), ("LONGEST", 1),
        ("SHARE", 1), ("START", 1),
    )  # fmt: skip
    for replica in plan.replicas:
        table.add_row(*_engine(replica))
    return table


def _engine(replica: ReplicaPlan) -> tuple[str, ...]:
    where = f"gpu {','.join(map(str, replica.gpus))}" if replica.gpus else "cpu"
    if not replica.known:
        return replica.name, where, "-", "-", "-", "-", "-", f"{replica.cold_start_seconds:.0f} s"
    return (
        replica.name,
        where,
        f"{replica.kv_tokens:,}",
        f"{replica.max_model_len:,}",
        f"{replica.concurrent:.1f}",
        f"{replica.longest_context:,}",
        f"{replica.utilization:g}" if replica.utilization is not None else "-",
        f"{replica.cold_start_seconds:.0f} s",
    )


def _sleep_table(plan: Plan) -> Table:
    table = _table(("GROUP", 0), ("ENGINE", 0), ("SLEEP LEVEL", 1), ("HOST MEMORY", 1), ("SLEEP", 1), ("WAKE", 1))
    table.add_column("FIRST SLEEP", justify="right")
    for replica in plan.replicas:
        if sleep := replica.sleep:
            table.add_row(
                replica.share or "",
                replica.name,
                str(sleep.level),
                gib(sleep.host_bytes),
                f"{sleep.sleep_seconds:.2f} s",
                f"{sleep.wake_seconds:.2f} s",
                f"{sleep.first_sleep_seconds:.1f} s",
            )
        elif replica.share:
            table.add_row(replica.share, replica.name, "kept warm" if replica.keep_warm else "-", *[""] * 4)
    return table


def _rejected(plan: Plan) -> list[RenderableType]:
    """Return why cheaper types do not do, one line for each kind of GPUs: the largest of that kind says it best."""
    best = {reason.partition(":")[0].replace(name, ""): (name, reason) for name, reason in plan.rejected}
    lines: list[RenderableType] = [Text(f"{len(plan.rejected)} cheaper instance types do not hold the fleet:")]
    lines += [Text(f"  {name}: {reason.splitlines()[0].rstrip(':')}", style="dim") for name, reason in best.values()]
    return lines


def _table(*columns: tuple[str, int]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, right in columns:
        table.add_column(name, justify="right" if right else "left", no_wrap=not right or name == "ENGINE")
    return table
