"""A trace replayed against a rule: what each request waits, and what the replicas cost. Pure.

Looks happen every 15 s, at numbers that are one look old: Prometheus scrapes, then KEDA polls. Requests go to the
ready replica with the fewest in flight, and wait in front while there is none. A replica that goes takes no new
requests and finishes those it has. It costs from the moment in which it is asked for until its last answer.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, pairwise

from tritonfleet.scaling.hpa import SYNC_SECONDS, History, decide
from tritonfleet.scaling.rule import Rule
from tritonfleet.simulate.engine import Flight, Speed
from tritonfleet.simulate.scaling.replica import Replica
from tritonfleet.simulate.trace import Request

#: Looks in the window of the original blueprint's ``rate(...[1m])``.
_RATE_LOOKS = round(60 / SYNC_SECONDS)
#: How much start times differ from each other: each lies within a tenth of the mean.
_START_SPREAD = 0.1


@dataclass(frozen=True)
class Look:
    """What there was at one moment."""

    at: float
    """Seconds since the start of the trace."""
    replicas: int
    """Replicas that are asked for."""
    ready: int
    in_flight: int
    """Requests that are not answered, waiting ones included."""


@dataclass(frozen=True)
class Run:
    """What came of a trace."""

    ttft_seconds: tuple[float, ...]
    """Of each request, in the order of arrival."""
    replica_seconds: float
    looks: tuple[Look, ...]

    @property
    def steps(self) -> tuple[int, ...]:
        """Changes of the number of replicas, in their order."""
        return tuple(
            after.replicas - before.replicas
            for before, after in pairwise(self.looks)
            if after.replicas != before.replicas
        )


def simulate(trace: Sequence[Request], rule: Rule, speed: Speed, *, start_seconds: float, seed: int = 0) -> Run:
    """Replay *trace* and return what came of it.

    Args:
        trace: Requests of one model, the earliest first; at least one.
        rule: Decides about replicas by the triggers ``in-flight``, ``kv-cache`` or ``triton-queue``.
        speed: Of one replica.
        start_seconds: Mean time from asking for a replica until it serves.
        seed: Of the start times.
    """
    chance = random.Random(seed)  # noqa: S311 - a repeatable run, no secret
    cluster = _Cluster(speed, start_seconds, chance, replicas=rule.min_replicas)
    history, look_at, looks = History(), 0.0, list[Look]()
    measured: dict[str, float] = {}
    arrivals = iter([Flight(number, request) for number, request in enumerate(trace)])
    upcoming = next(arrivals, None)
    while upcoming or cluster.in_flight:
        while upcoming and upcoming.request.arrival_seconds < look_at:
            cluster.route(upcoming)
            upcoming = next(arrivals, None)
        cluster.advance(look_at)
        seen, measured = measured, cluster.measure()
        decision = decide(rule, history, look_at, len(cluster.replicas), seen)
        history = decision.history
        cluster.resize(decision.replicas, look_at)
        looks.append(cluster.look(look_at))
        look_at += SYNC_SECONDS
    return Run(
        tuple(cluster.ttft[number] for number in range(len(trace))), cluster.replica_seconds(look_at), tuple(looks)
    )


class _Cluster:
    """The replicas, and what waits in front of them."""

    def __init__(self, speed: Speed, start_seconds: float, chance: random.Random, replicas: int) -> None:
        self._speed, self._start_seconds, self._chance = speed, start_seconds, chance
        self.replicas = [Replica(speed, 0.0, 0.0) for _ in range(replicas)]
        self.ttft: dict[int, float] = {}
        self._draining: list[Replica] = []
        self._front: deque[Flight] = deque()
        self._events: list[tuple[float, int, Replica]] = []
        self._order = count()
        self._gone_seconds = 0.0
        self._gone_queue_seconds = 0.0
        self._queue_seconds: deque[float] = deque(maxlen=_RATE_LOOKS + 1)

    @property
    def in_flight(self) -> int:
        """Requests that have arrived and are not answered."""
        return len(self._front) + sum(replica.in_flight for replica in self._everyone())

    def route(self, flight: Flight) -> None:
        """Give the request that arrives now to a replica."""
        now = flight.request.arrival_seconds
        self.advance(now)
        ready = [replica for replica in self.replicas if replica.ready_at <= now]
        if ready:
            self._give(min(ready, key=_load), flight, now)
        else:
            self._front.append(flight)

    def advance(self, now: float) -> None:
        """Let everything happen that is due until *now*."""
        while self._events and self._events[0][0] <= now:
            at, _, replica = heapq.heappop(self._events)
            if at == replica.engine.next_event:
                for flight in replica.finish(at):
                    assert flight.first_token is not None
                    self.ttft[flight.number] = flight.first_token - flight.request.arrival_seconds
                self._note(replica)
                if replica.draining and not replica.in_flight:
                    self._remove(replica, at)
            elif at == replica.ready_at and not replica.draining:
                while self._front:
                    self._give(replica, self._front.popleft(), at)

    def measure(self) -> dict[str, float]:
        """Return the triggers' values over the whole pool."""
        everyone = self._everyone()
        self._queue_seconds.append(self._gone_queue_seconds + sum(replica.triton_queue_seconds for replica in everyone))
        seconds = (len(self._queue_seconds) - 1) * SYNC_SECONDS
        queued = self._queue_seconds[-1] - self._queue_seconds[0]
        return {
            "in-flight": float(self.in_flight),
            "kv-cache": sum(replica.kv_cache_usage for replica in everyone),
            "triton-queue": queued / seconds * 1000 if seconds else 0.0,
        }

    def resize(self, wanted: int, now: float) -> None:
        """Ask for replicas, or let some go: those that came last, as Kubernetes does, and first those not ready."""
        for _ in range(wanted - len(self.replicas)):
            seconds = self._start_seconds * self._chance.uniform(1 - _START_SPREAD, 1 + _START_SPREAD)
            replica = Replica(self._speed, now, now + seconds)
            self.replicas.append(replica)
            heapq.heappush(self._events, (replica.ready_at, next(self._order), replica))
        for _ in range(len(self.replicas) - wanted):
            replica = max(self.replicas, key=lambda replica: (replica.ready_at > now, replica.asked_at))
            self.replicas.remove(replica)
            self._draining.append(replica)
            replica.draining = True
            if not replica.in_flight:
                self._remove(replica, now)

    def look(self, now: float) -> Look:
        """Return what there is."""
        ready = sum(replica.ready_at <= now for replica in self.replicas)
        return Look(now, len(self.replicas), ready, self.in_flight)

    def replica_seconds(self, now: float) -> float:
        """Return the time that replicas have cost."""
        return self._gone_seconds + sum(now - replica.asked_at for replica in self._everyone())

    def _everyone(self) -> list[Replica]:
        return [*self.replicas, *self._draining]

    def _give(self, replica: Replica, flight: Flight, now: float) -> None:
        replica.take(flight, now)
        self._note(replica)

    def _note(self, replica: Replica) -> None:
        """Put the engine's next event into the line; an older entry of the same engine is passed over later."""
        if replica.engine.busy:
            heapq.heappush(self._events, (replica.engine.next_event, next(self._order), replica))

    def _remove(self, replica: Replica, now: float) -> None:
        self._draining.remove(replica)
        self._gone_seconds += now - replica.asked_at
        self._gone_queue_seconds += replica.triton_queue_seconds


def _load(replica: Replica) -> int:
    return replica.in_flight
