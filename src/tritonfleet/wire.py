"""What the supervisor, the bridge and the gateway say to each other over the control socket. Stdlib only.

The control socket is HTTP/1.1 on a Unix socket (``Layout.control_socket``). Its routes::

    POST /v1/bridge/acquire          {"model", "version", "model_dir"}   -> Route; waits until an engine is ready
    POST /v1/bridge/release          {"model", "version"}                -> {}; the last release stops the engine
    GET  /v1/routes?after=N          -> {"revision": N, "routes": [Route...]}; waits while nothing is newer than N
    GET  /v1/status                  -> FleetStatus
    GET  /v1/models/NAME             -> ModelStatus
    POST /v1/models/NAME/load        {}                                  -> ModelStatus; does not wait for the end
    POST /v1/models/NAME/unload      {}                                  -> ModelStatus; running requests finish first
    GET  /v1/history?after=T         -> {"times": [...], "models": {NAME: {column: [...]}}}; T in seconds since 1970
    GET  /v1/memory                  -> {"pools": [...], "notes": [...]}; what the plan gives to each model, in bytes
    POST /v1/models/NAME/sleep       {}                                  -> ModelStatus; waits until it is asleep
    POST /v1/models/NAME/wake        {}                                  -> ModelStatus; waits until it is awake
    GET  /v1/share                   -> {"groups": [ShareStatus...]}; who is awake where models share a device
    GET  /v1/leases                  -> a WebSocket; see ``leases``
    GET  /v1/logs/NAME?lines=N       -> text/plain; NAME is a model, `triton`, `gateway` or `supervisor`
    GET  /v1/metrics                 -> text/plain; Prometheus: engines, bridge, GPUs, supervisor, merged
    POST /v1/stop                    {"drain_seconds": 60}               -> {}; answers at once, the fleet drains

An error is ``{"error": {"message": ..., "kind": CLASS_OF_FleetError}}`` with that class's HTTP status.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, TypeVar

#: ``asleep`` is a model of a share group that another has sent to sleep: its requests are held until it is awake.
ModelState = Literal["stopped", "starting", "ready", "asleep", "restarting", "draining", "stopping", "failed"]
#: Which requests take a lease: none, those that generate, or all (the engine does not even run while it is asleep).
LeaseNeed = Literal["none", "generate", "all"]
FleetState = Literal["starting", "ready", "degraded", "draining", "stopping"]

#: Environment variable through which Triton's children learn the path of the control socket.
CONTROL_VARIABLE = "TRITONFLEET_CONTROL"
#: Environment variable with where the bridge sends its spans, as JSON: ``url``, ``service``, ``fleet``; unset: nowhere.
TRACING_VARIABLE = "TRITONFLEET_TRACING"
#: In a ``reason``, what follows is of a process's log: for whoever runs the fleet, not for its clients.
LAST_WORDS = "; its last words"


@dataclass(frozen=True)
class Endpoint:
    """Where an engine speaks the OpenAI API: a Unix socket, or a loopback TCP port for engines without one."""

    uds: str | None = None
    """Path of the Unix socket."""
    host: str = "127.0.0.1"
    """Host of the TCP address; unused with *uds*."""
    port: int = 0
    """TCP port; unused with *uds*."""

    @property
    def base_url(self) -> str:
        """URL to which a path is appended; the host part means nothing on a Unix socket."""
        return "http://engine" if self.uds else f"http://{self.host}:{self.port}"

    def __str__(self) -> str:
        return f"unix:{self.uds}" if self.uds else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Route:
    """How to reach one model: its engines' endpoints and what the bridge must know to speak to them."""

    model: str
    """Name at the doors."""
    engine: str
    """Adapter name, for example ``vllm``."""
    served_name: str
    """Value of the ``model`` field in requests to the engine."""
    endpoints: tuple[Endpoint, ...]
    """One per replica, in order; to the gateway only those that are ready."""
    loras: tuple[str, ...] = ()
    """Adapter names, usable in the ``model`` field."""
    lora_enabled: bool = False
    """Whether the engine was started with LoRA support."""
    max_model_len: int | None = None
    """Longest prompt plus answer in tokens, where known."""
    state: ModelState = "ready"
    """State of the model as a whole."""
    reason: str = ""
    """Why it is not ready, in words for the client."""
    lease: LeaseNeed = "none"
    """Which requests must hold a lease of the model while they are at the engine."""
    hold_seconds: float = 0.0
    """Longest wait for a lease, unless the request names a shorter one."""
    engine_version: str = ""
    """Version of the engine's runtime, where it is known."""
    in_triton: bool = True
    """Whether Triton has the model loaded."""
    pool: str = ""
    """Pool of nodes that the model belongs to, for the gateway's metrics."""


@dataclass(frozen=True)
class ReplicaStatus:
    """One engine of a model."""

    replica: int
    state: ModelState
    device: str
    """``cpu`` or ``gpu 0,1``."""
    endpoint: str
    pid: int | None = None
    restarts: int = 0
    ready_seconds: float | None = None
    """Time from start to ready of the current process."""
    running: float | None = None
    """Requests being decoded (the engine's own count)."""
    waiting: float | None = None
    """Requests queued inside the engine."""
    tokens_per_second: float | None = None
    """Generated tokens per second since the last look."""
    reason: str = ""


@dataclass(frozen=True)
class ModelStatus:
    """One model of the fleet."""

    model: str
    engine: str
    source: str
    state: ModelState
    in_triton: bool
    """Whether Triton has the model loaded."""
    replicas: tuple[ReplicaStatus, ...] = ()
    reason: str = ""
    share: str = ""
    """Share group; empty for a model with a device of its own."""


@dataclass(frozen=True)
class ShareMember:
    """One model of a share group."""

    model: str
    phase: str
    """``off``, ``starting``, ``asleep``, ``waking``, ``awake``, ``draining``, ``sleeping`` or ``broken``."""
    running: int
    """Requests that hold a lease."""
    waiting: int
    """Requests that wait for the model to be awake."""
    oldest_wait_seconds: float
    asked: int
    """Requests for a lease since the fleet came up."""
    held: int
    """Those that had to wait."""
    refused: int
    """Those that were given none."""

    @property
    def resident(self) -> bool:
        """Whether it is awake."""
        return self.phase in ("awake", "draining")


@dataclass(frozen=True)
class ShareStatus:
    """Models that take turns on one device."""

    group: str
    device: str
    """``cpu`` or ``gpu 0,1``."""
    members: tuple[ShareMember, ...]
    switches: int = 0
    """Times that a model woke for which another had to sleep."""
    switch_seconds_sum: float = 0.0
    """Time of all of them, from the decision until the next model served."""
    switch_seconds_bounds: tuple[float, ...] = ()
    """Upper bounds of the histogram's buckets, without infinity."""
    switch_seconds_counts: tuple[int, ...] = ()
    """Switches at or below each bound."""


@dataclass(frozen=True)
class FleetStatus:
    """The whole fleet."""

    fleet: str
    pid: int
    state: FleetState
    uptime_seconds: float
    doors: dict[str, str] = field(default_factory=dict)
    """Door name to ``host:port``."""
    triton_pid: int | None = None
    triton_state: ModelState = "starting"
    triton_restarts: int = 0
    gateway_pid: int | None = None
    gateway_state: ModelState = "starting"
    gateway_reason: str = ""
    models: tuple[ModelStatus, ...] = ()
    others: tuple[str, ...] = ()
    """Ordinary Triton models that are loaded beside the fleet's own."""
    shares: tuple[ShareStatus, ...] = ()
    """Share groups."""


T = TypeVar("T")

_NESTED: Mapping[tuple[str, str], type] = {
    ("Route", "endpoints"): Endpoint,
    ("ModelStatus", "replicas"): ReplicaStatus,
    ("FleetStatus", "models"): ModelStatus,
    ("FleetStatus", "shares"): ShareStatus,
    ("ShareStatus", "members"): ShareMember,
}


def dump(value: Any) -> str:
    """Return the JSON text of a wire dataclass."""
    return json.dumps(asdict(value), ensure_ascii=False, separators=(",", ":"))


def load(kind: type[T], data: Mapping[str, Any]) -> T:
    """Build a *kind* from decoded JSON; unknown keys are ignored, so either side may be newer."""
    known: dict[str, Any] = {}
    for item in fields(kind):  # type: ignore[arg-type]
        if item.name not in data:
            continue
        value = data[item.name]
        nested = _NESTED.get((kind.__name__, item.name))
        if nested is not None:
            value = tuple(load(nested, entry) for entry in value)
        elif isinstance(value, list):
            value = tuple(value)
        known[item.name] = value
    return kind(**known)
