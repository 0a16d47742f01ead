"""The PromQL of the scaling rule: the one place where what is looked at stands. Pure.

Three cases decide the form:

- Replicas serve, and some do not tell their numbers (a hung engine, a page that was not scraped): what the others tell
  is taken as the mean of all, so the load never looks smaller than it is.
- No replica tells anything although some are asked for: there is no value, and the autoscaler leaves things alone.
- No replica is asked for: the load is what waits in front, which may be nothing.

A model that takes turns with others on its GPUs is awake in some pods only, so silence says nothing about a single pod
there; asleep everywhere, its load is what waits for it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

RUNNING = "vllm:num_requests_running"
WAITING = "vllm:num_requests_waiting"
KV_CACHE = "vllm:kv_cache_usage_perc"
GATEWAY_WAITING = "tritonfleet_gateway_requests_waiting"
SHARE_WAITING = "tritonfleet_share_waiting"
SHARE_AWAKE = "tritonfleet_share_resident"
#: Time in which a new replica's page is read for the first time, as PromQL has it.
SETTLED = "2m"
#: kube-state-metrics'.
AVAILABLE = "kube_deployment_status_replicas_available"
ASKED_FOR = "kube_deployment_spec_replicas"


@dataclass(frozen=True)
class Place:
    """Where a model runs, as the labels of its series say it."""

    fleet: str
    model: str
    pool: str
    namespace: str
    deployment: str
    """The pool's Deployment."""
    engines: int = 1
    """Engines of the model in each pod."""
    shared: bool = False
    """Whether the model takes turns with others on its GPUs, so that requests can wait for it to be awake."""


def in_flight(place: Place) -> str:
    """Return the requests that the pool has taken on and not answered, wherever in it they are.

    The value is a number of requests over all replicas of the pool.
    """
    engine = _engine(place)
    load = f"(sum({RUNNING}{engine}) + sum({WAITING}{engine}))"
    front = " + ".join(f"(sum({name}{_model(place)}) or vector(0))" for name in _in_front(place))
    return f"{_whole(load, place)} + {front} or {_none_asked_for(place)} + {front}"


def kv_cache(place: Place) -> str:
    """Return the use of all KV caches of the pool, in caches: 2.5 is two and a half of them."""
    return f"{_whole(f'sum({KV_CACHE}{_engine(place)})', place)} or {_none_asked_for(place)}"


def _whole(load: str, place: Place) -> str:
    """Return *load* as if the serving engines that tell nothing had the mean load of those that do."""
    if place.shared:
        return f"({load} or (sum({SHARE_AWAKE}{_model(place)}) == 0))"
    told = f"count(count by (namespace, pod, instance, replica) ({RUNNING}{_engine(place)}))"
    engines = f" * {place.engines}" if place.engines > 1 else ""
    # A replica that has just come is no hung one: Prometheus has not read its page yet.
    serving = f"sum(min_over_time({AVAILABLE}{_deployment(place)}[{SETTLED}])){engines}"
    return f"({load} * clamp_min({serving} / {told}, 1) or {load})"


def _none_asked_for(place: Place) -> str:
    return f"(sum({ASKED_FOR}{_deployment(place)}) == 0)"


def _in_front(place: Place) -> tuple[str, ...]:
    return (GATEWAY_WAITING, SHARE_WAITING) if place.shared else (GATEWAY_WAITING,)


def _engine(place: Place) -> str:
    labels = {"namespace": place.namespace, "fleet": place.fleet, "pool": place.pool, "model": place.model}
    return _selector(labels)


def _model(place: Place) -> str:
    return _selector({"namespace": place.namespace, "fleet": place.fleet, "model": place.model})


def _deployment(place: Place) -> str:
    return _selector({"namespace": place.namespace, "deployment": place.deployment})


def _selector(labels: Mapping[str, str]) -> str:
    # A JSON string is a PromQL string: both escape as Go does.
    return "{" + ", ".join(f"{name}={json.dumps(value)}" for name, value in labels.items()) + "}"
