"""What the supervisor itself knows, as families of the page. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import get_args

from tritonfleet.metrics.text import family
from tritonfleet.wire import FleetState, FleetStatus, ModelState, ModelStatus, ReplicaStatus

_GPUS = re.compile(r"gpu (\d+(?:,\d+)*)")


def state_text(status: FleetStatus, pools: Mapping[str, str], version: str) -> str:
    """Return the state of everything; *pools* are the models' pools."""
    fleet = status.fleet
    replicas = [
        ((fleet, *replica_labels(model, replica, pools).values()), replica)
        for model in status.models
        for replica in model.replicas
    ]
    started = [entry for entry in replicas if entry[1].ready_seconds is not None]
    parts = (
        family("tritonfleet_fleet_info", [((fleet, version), 1)]),
        family("tritonfleet_fleet_state", [((fleet, state), state == status.state) for state in get_args(FleetState)]),
        family("tritonfleet_replica_up", [(labels, replica.state == "ready") for labels, replica in replicas]),
        family(
            "tritonfleet_replica_state",
            [
                ((*labels, state), state == replica.state)
                for labels, replica in replicas
                for state in get_args(ModelState)
            ],
        ),
        family("tritonfleet_replica_restarts_total", [(labels, replica.restarts) for labels, replica in replicas]),
        family(
            "tritonfleet_replica_ready_seconds", [(labels, replica.ready_seconds or 0) for labels, replica in started]
        ),
        family(
            "tritonfleet_replica_gpu",
            [((*labels, gpu), 1) for labels, replica in replicas for gpu in gpus_of(replica.device)],
        ),
        family(
            "tritonfleet_model_in_triton",
            [((fleet, model.model, pools.get(model.model, model.model)), model.in_triton) for model in status.models],
        ),
        family("tritonfleet_triton_up", [((fleet,), status.triton_state == "ready")]),
        family("tritonfleet_triton_restarts_total", [((fleet,), status.triton_restarts)]),
    )
    return "".join(parts)


def replica_labels(model: ModelStatus, replica: ReplicaStatus, pools: Mapping[str, str]) -> Mapping[str, str]:
    """Return the labels of everything that is told of one engine, beside the fleet's."""
    return {
        "model": model.model,
        "replica": str(replica.replica),
        "pool": pools.get(model.model, model.model),
        "engine": model.engine,
    }


def gpus_of(device: str) -> tuple[str, ...]:
    """Return the GPU numbers in a replica's device."""
    found = _GPUS.fullmatch(device)
    return tuple(found[1].split(",")) if found else ()
