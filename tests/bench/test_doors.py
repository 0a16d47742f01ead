"""The doors of a fleet by name, from its status."""

from __future__ import annotations

import pytest

from tritonfleet.bench.doors import DOOR_NAMES, parse_endpoint, places
from tritonfleet.errors import UsageError
from tritonfleet.wire import Endpoint, FleetStatus, ModelState, ModelStatus, ReplicaStatus


def status(state: ModelState = "ready") -> FleetStatus:
    replicas = (
        ReplicaStatus(0, "starting", "cpu", "unix:/run/0"),
        ReplicaStatus(1, state, "cpu", "unix:/run/1"),
    )
    doors = {"http": "h:8000", "grpc": "h:8001", "metrics": "h:8002", "openai": "h:9000"}
    model = ModelStatus("llama2", "vllm", "demo://llama2", state, True, replicas, "no memory")
    return FleetStatus("demo", 1, "ready", 1.0, doors, models=(model,))


def test_every_door_has_its_address_and_only_the_openai_door_gets_the_key() -> None:
    found = places(status(), "llama2", "secret")
    assert tuple(found) == DOOR_NAMES
    assert {door: place.where for door, place in found.items()} == {
        "engine": "unix:/run/1",
        "kserve-grpc": "h:8001",
        "kserve-http": "h:8000",
        "openai": "h:9000",
    }
    assert {door: place.api_key for door, place in found.items() if place.api_key} == {"openai": "secret"}


def test_a_mistyped_model_gets_the_near_match() -> None:
    with pytest.raises(UsageError, match=r"did you mean 'llama2'\? its models: llama2"):
        places(status(), "lama2")


def test_a_model_that_is_not_ready_is_refused_with_its_reason() -> None:
    with pytest.raises(UsageError, match=r"'llama2' is failed, not ready \(no memory\)"):
        places(status("failed"), "llama2")


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("unix:/run/e", Endpoint(uds="/run/e")),
        ("/run/e", Endpoint(uds="/run/e")),
        ("host:80", Endpoint(host="host", port=80)),
        ("http://host:80/", Endpoint(host="host", port=80)),
        (":80", Endpoint(host="127.0.0.1", port=80)),
    ],
)
def test_addresses_of_engines(text: str, endpoint: Endpoint) -> None:
    assert parse_endpoint(text) == endpoint


@pytest.mark.parametrize("text", ["host", "host:port", ""])
def test_an_address_without_port_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="HOST:PORT or unix:PATH"):
        parse_endpoint(text)
