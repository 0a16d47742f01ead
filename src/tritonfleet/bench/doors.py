"""The doors of a fleet as a load generator sees them: where each is, and a connection to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tritonfleet.bench.engine_door import EngineDoor
from tritonfleet.bench.target import StreamDoor, Target
from tritonfleet.client.address import parse_address
from tritonfleet.client.messages import EXTRA_OUTPUTS, ModelInfo
from tritonfleet.errors import UsageError
from tritonfleet.wire import Endpoint, FleetStatus, ModelStatus

DoorName = Literal["engine", "kserve-grpc", "kserve-http", "openai"]
DOOR_NAMES: tuple[DoorName, ...] = ("engine", "kserve-grpc", "kserve-http", "openai")
#: What the fleet calls the address behind a door.
_ADDRESS_KEYS: Mapping[DoorName, str] = {"kserve-grpc": "grpc", "kserve-http": "http", "openai": "openai"}
#: The inputs of every model that the bridge serves.
_INPUTS = frozenset({"text_input", "stream", "sampling_parameters", "exclude_input_in_output", *EXTRA_OUTPUTS})


@dataclass(frozen=True)
class Place:
    """A model at a door; can be sent to another process."""

    name: str
    """What results call it."""
    door: DoorName
    where: str
    """``HOST:PORT``, or ``unix:PATH`` for an engine."""
    model: str
    api_key: str | None = None

    def open(self) -> Target:
        """Return a new connection; must be called in the event loop that uses it."""
        return Target(self.name, self._connect(), ModelInfo(self.model, _INPUTS, {}))

    def _connect(self) -> StreamDoor:
        if self.door == "kserve-grpc":
            from tritonfleet.client.grpc_door import GrpcDoor

            return GrpcDoor(parse_address(self.where, "grpc"))
        if self.door == "kserve-http":
            from tritonfleet.client.http_door import HttpDoor

            return HttpDoor(parse_address(self.where, "http"))
        return EngineDoor(parse_endpoint(self.where), api_key=self.api_key)


def places(status: FleetStatus, model: str, api_key: str | None = None) -> dict[DoorName, Place]:
    """Return every door to *model* of a running fleet; an engine is that of the first replica that is ready.

    Raises UsageError if there is no such model, or none of its engines serves.
    """
    found = model_status(status, model)
    ready = [replica for replica in found.replicas if replica.state == "ready"]
    if not ready:
        raise UsageError(f"model {model!r} is {found.state}, not ready ({found.reason or 'no reason given'})")
    doors: dict[DoorName, Place] = {"engine": Place("engine", "engine", ready[0].endpoint, model)}
    for door, key in _ADDRESS_KEYS.items():
        if key in status.doors:
            doors[door] = Place(door, door, status.doors[key], model, api_key if door == "openai" else None)
    return doors


def model_status(status: FleetStatus, model: str) -> ModelStatus:
    """Return what the fleet says of *model*; raise UsageError with the near match if it has no such model."""
    from difflib import get_close_matches

    names = [entry.model for entry in status.models]
    if model not in names:
        near = get_close_matches(model, names, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise UsageError(
            f"fleet {status.fleet!r} has no model {model!r}{hint} its models: {', '.join(names) or 'none'}"
        )
    return status.models[names.index(model)]


def parse_endpoint(text: str) -> Endpoint:
    """Return the endpoint written as ``unix:PATH``, ``[http://]HOST:PORT`` or a path; raise UsageError otherwise."""
    if text.startswith("unix:"):
        return Endpoint(uds=text.removeprefix("unix:"))
    if text.startswith("/"):
        return Endpoint(uds=text)
    host, _, port = text.removeprefix("http://").rstrip("/").rpartition(":")
    if not port.isdigit():
        raise UsageError(f"address {text!r} is not of the form HOST:PORT or unix:PATH")
    return Endpoint(host=host or "127.0.0.1", port=int(port))
