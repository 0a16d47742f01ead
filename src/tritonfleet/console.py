"""What `tritonfleet up` and `status` show in a terminal, as rich renderables made from a FleetStatus."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tritonfleet.wire import FleetStatus, ModelStatus, ReplicaStatus, ShareStatus

_STYLES = {
    "ready": "green",
    "asleep": "cyan",
    "starting": "yellow",
    "restarting": "yellow",
    "draining": "yellow",
    "stopping": "yellow",
    "degraded": "red",
    "failed": "red",
    "stopped": "dim",
}


def fleet_view(status: FleetStatus) -> RenderableType:
    """Return the table of models with the doors above it and the reasons of failures below it."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, right in (
        ("MODEL", 0),
        ("STATE", 0),
        ("ENGINE", 0),
        ("DEVICE", 0),
        ("RUNNING", 1),
        ("WAITING", 1),
        ("TOKENS/S", 1),
        ("RESTARTS", 1),
    ):
        table.add_column(name, justify="right" if right else "left")
    for model in status.models:
        for replica in model.replicas:
            table.add_row(*_row(model, replica))
    for name in status.others:
        table.add_row(name, _state("ready"), "triton", "", "", "", "", "")
    parts: list[RenderableType] = [_heading(status), table, *map(_share, status.shares)]
    parts += [
        Text(f"{model.model}: {model.reason}", style="red" if model.state == "failed" else "yellow")
        for model in status.models
        if model.reason
    ]
    if status.gateway_reason:
        parts.append(Text(f"gateway: {status.gateway_reason}", style="red"))
    return Group(*parts)


def _heading(status: FleetStatus) -> Text:
    text = Text.assemble(("fleet ", "bold"), status.fleet, "  ", _state(status.state))
    doors = status.doors
    text.append(
        f"  KServe http {doors.get('http', '?')}  grpc {doors.get('grpc', '?')}  metrics {doors.get('metrics', '?')}"
    )
    if status.triton_state != "ready":
        text.append(f"  triton {status.triton_state}", style=_STYLES.get(status.triton_state, ""))
    text.append(f"  OpenAI {doors.get('openai', '?')}")
    if status.gateway_state != "ready":
        text.append(f"  gateway {status.gateway_state}", style=_STYLES.get(status.gateway_state, ""))
    return text


def _share(group: ShareStatus) -> Text:
    """Return one line: who is awake, who is waited for, and how the device changed hands."""
    awake = " and ".join(member.model for member in group.members if member.resident) or "nobody"
    text = Text.assemble((f"share {group.group}", "bold"), f" on {group.device}: {awake} awake")
    for member in group.members:
        if member.waiting:
            text.append(f"; {member.waiting} wait for {member.model}, {member.oldest_wait_seconds:.1f} s", "yellow")
        if member.phase in ("waking", "starting", "sleeping", "draining"):
            text.append(f"; {member.model} is {member.phase}")
    if group.switches:
        times = "once" if group.switches == 1 else f"{group.switches} times"
        text.append(f"; switched {times}, {group.switch_seconds_sum / group.switches:.2f} s each")
    if held := [f"{member.model} {member.held} of {member.asked}" for member in group.members if member.held]:
        text.append(f"; requests that waited for a turn: {', '.join(held)}")
    return text


def _row(model: ModelStatus, replica: ReplicaStatus) -> tuple[str | Text, ...]:
    name = model.model if len(model.replicas) == 1 else f"{model.model}/{replica.replica}"
    state = replica.state
    shown = _state(state)
    if state == "ready" and not model.in_triton:
        shown = Text(
            "failed" if model.state == "failed" else "loading",
            style=_STYLES["failed" if model.state == "failed" else "starting"],
        )
    return (
        name,
        shown,
        model.engine,
        replica.device,
        _number(replica.running, "{:.0f}"),
        _number(replica.waiting, "{:.0f}"),
        _number(replica.tokens_per_second, "{:.1f}"),
        str(replica.restarts),
    )


def _state(state: str) -> Text:
    return Text(state, style=_STYLES.get(state, ""))


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)
