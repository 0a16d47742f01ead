"""Replay a trace: the fleet's own arbiter gives out the device, modelled engines compute. Pure, and quick.

The loop goes from event to event: an arrival, the end of an engine's step, the end of a sleep or wake, a moment at
which the arbiter wants to decide again.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

from tritonfleet.simulate.engine import Engine, Flight, Speed
from tritonfleet.simulate.trace import Request
from tritonfleet.supervisor.arbiter import Arbiter
from tritonfleet.supervisor.seats import Grant, Member, Order, Policy, Refuse, Revoke, Sleep, Start, Wake

#: Longest wait where the scene names none.
WAIT_SECONDS = 60.0


@dataclass(frozen=True)
class Seat:
    """One model: its engines, and how it gives its device away where it shares one."""

    model: str
    speed: Speed
    device: str
    """Engines on the same device slow each other down while they compute."""
    replicas: int = 1
    group: str | None = None
    need_bytes: int = 1
    priority: int = 0
    keep_warm: bool = False
    sleep_seconds: float = 0.0
    first_sleep_seconds: float | None = None
    """None: as every other."""
    wake_seconds: float = 0.0


@dataclass(frozen=True)
class Scene:
    """A fleet to be simulated."""

    seats: tuple[Seat, ...]
    capacities: Mapping[str, int] = field(default_factory=dict)
    """Bytes of each share group's device."""
    policies: Mapping[str, Policy] = field(default_factory=dict)
    """By share group; the arbiter's default where none is named."""
    wait_seconds: Mapping[str, float] = field(default_factory=dict)
    """By share group, the longest wait of a request for its model's turn; a minute where none is named."""


@dataclass(frozen=True)
class Outcome:
    """What became of one request. Times are since the start of the trace."""

    request: Request
    first_token: float | None
    ended: float | None
    refused: str = ""
    """Why it was not served."""

    @property
    def ttft_seconds(self) -> float | None:
        """Time to first token; None if it was refused."""
        return None if self.first_token is None else self.first_token - self.request.arrival_seconds


@dataclass(frozen=True)
class Span:
    """A time in which a member of a share group was awake, or on its way to or from it."""

    model: str
    phase: str
    """``awake``, ``waking`` or ``sleeping``"""
    start: float
    end: float


@dataclass(frozen=True)
class Replay:
    """A trace's outcome, in the order of the trace."""

    outcomes: tuple[Outcome, ...]
    spans: tuple[Span, ...]
    switch_seconds: tuple[float, ...]
    """For each time that a device changed hands: from the order to sleep until the newcomer answers."""
    end: float


def replay(trace: Sequence[Request], scene: Scene) -> Replay:
    """Return what *scene* makes of *trace*; every model of the trace has a seat."""
    return _World(trace, scene).run()


class _World:
    def __init__(self, trace: Sequence[Request], scene: Scene) -> None:
        self._trace = trace
        self._flights = [Flight(number, request) for number, request in enumerate(trace)]
        self._refused: dict[int, str] = {}
        self._engines: dict[str, list[Engine]] = {}
        self._devices: dict[str, list[Engine]] = {}
        self._home: dict[str, str] = {}
        self._groups: dict[str, _Group] = {}
        self._scene = scene
        for seat in scene.seats:
            self._engines[seat.model] = [Engine(seat.model, seat.speed) for _ in range(seat.replicas)]
            self._devices.setdefault(seat.device, []).extend(self._engines[seat.model])
            self._home[seat.model] = seat.device
        for name in dict.fromkeys(seat.group for seat in scene.seats if seat.group):
            members = [seat for seat in scene.seats if seat.group == name]
            policy = scene.policies.get(name, Policy())
            self._groups[name] = _Group(name, members, scene.capacities.get(name, 1), policy, self)
        self._group_of = {seat.model: self._groups[seat.group] if seat.group else None for seat in scene.seats}

    def run(self) -> Replay:
        """Go through all events."""
        at, total, now = 0, len(self._trace), 0.0
        groups = list(self._groups.values())
        engines = [engine for entries in self._engines.values() for engine in entries]
        while True:
            arrival = self._trace[at].arrival_seconds if at < total else math.inf
            engine = min(engines, key=_next_event)
            group = min(groups, key=_next_event) if groups else None
            now = min(arrival, engine.next_event, group.next_event if group else math.inf)
            if now == math.inf:
                break
            if engine.next_event == now:
                self._finish(engine, now)
            elif group and group.next_event == now:
                group.advance(now)
            else:
                self._arrive(self._flights[at], now)
                at += 1
        return self._result()

    def enter(self, number: int, now: float) -> None:
        """Hand a request to the model's engine that has the fewest."""
        flight = self._flights[number]
        model = flight.request.model
        engine = min(self._engines[model], key=lambda each: each.load)
        was_busy = engine.busy
        engine.add(flight, now)
        if not was_busy:
            self._share(self._home[model], now)

    def refuse(self, number: int, reason: str) -> None:
        """A request is not served."""
        self._refused[number] = reason

    def abort(self, number: int, reason: str, now: float) -> Flight:
        """A running request is ended before it is complete."""
        flight = self._flights[number]
        for engine in self._engines[flight.request.model]:
            engine.drop(flight, now)
        self._refused[number] = reason
        return flight

    def _arrive(self, flight: Flight, now: float) -> None:
        group = self._group_of[flight.request.model]
        if group is None:
            self.enter(flight.number, now)
        else:
            wait = self._scene.wait_seconds.get(group.name, WAIT_SECONDS)
            group.request(flight, now, now + wait)

    def _finish(self, engine: Engine, now: float) -> None:
        ended = engine.finish(now)
        if not engine.busy:
            self._share(self._home[engine.name], now)
        group = self._group_of[engine.name]
        if group:
            for flight in ended:
                group.release(flight, now)

    def _share(self, device: str, now: float) -> None:
        """Tell the engines of a device how many compute there now."""
        busy = sum(engine.busy for engine in self._devices[device])
        for engine in self._devices[device]:
            if engine.slowdown != max(1, busy):
                engine.slowdown = max(1, busy)
                engine.interrupt(now)

    def _result(self) -> Replay:
        outcomes = [
            Outcome(flight.request, flight.first_token, flight.ended, self._refused.get(flight.number, ""))
            for flight in self._flights
        ]
        end = max((outcome.ended for outcome in outcomes if outcome.ended is not None), default=0.0)
        end = max([end, *(request.arrival_seconds for request in self._trace[-1:])])
        groups = self._groups.values()
        return Replay(
            tuple(outcomes),
            tuple(span for group in groups for span in group.spans(end)),
            tuple(seconds for group in groups for seconds in group.switch_seconds),
            end,
        )


class _Group:
    """A share group: its arbiter, and the machinery that takes its time over each order."""

    def __init__(self, name: str, members: Iterable[Seat], capacity: int, policy: Policy, world: _World) -> None:
        self.name = name
        self._seats = {seat.model: seat for seat in members}
        self._arbiter = Arbiter(
            [Member(seat.model, seat.need_bytes, seat.priority, seat.keep_warm) for seat in self._seats.values()],
            capacity,
            policy,
        )
        self._world = world
        self._under_way: list[tuple[float, int, Order]] = []
        self._order = count()
        self._slept: set[str] = set()
        self._awake: set[str] = set()
        self._since: dict[str, tuple[str, float]] = {}
        self._spans: list[Span] = []
        self._leaving_since: float | None = None
        self._revoked: list[Flight] = []
        self._tick: float | None = None
        self.switch_seconds: list[float] = []
        self.next_event = math.inf
        self._bring_up()
        self._since = {model: ("awake", 0.0) for model in self._seats if model in self._awake}

    def _bring_up(self) -> None:
        """Start all engines one after the other, as ``up`` does, before the trace begins; each but the last sleeps."""
        orders: list[Order] = []
        for model in self._seats:
            orders += self._arbiter.gone(model, reason="", now=0.0)
        orders += self._arbiter.start(*self._seats, now=0.0)
        while orders:
            order = orders.pop(0)
            if isinstance(order, Start):
                self._awake.add(order.model)
                orders += self._arbiter.started(order.model, awake=True, now=0.0)
            elif isinstance(order, Sleep):
                self._awake.discard(order.model)
                self._slept.add(order.model)
                orders += self._arbiter.slept(order.model, ok=True, now=0.0)

    def request(self, flight: Flight, now: float, deadline: float) -> None:
        """Ask for a lease."""
        self._obey(self._arbiter.request(str(flight.number), flight.request.model, now=now, deadline=deadline), now)

    def release(self, flight: Flight, now: float) -> None:
        """Give a lease back."""
        self._obey(self._arbiter.release(str(flight.number), now=now), now)

    def advance(self, now: float) -> None:
        """Report what has ended by now, or let the arbiter decide again."""
        if self._under_way and self._under_way[0][0] <= now:
            order = heapq.heappop(self._under_way)[2]
            if isinstance(order, Sleep):
                self._phase(order.model, "", now)
                self._obey(self._arbiter.slept(order.model, ok=True, now=now), now)
            elif isinstance(order, Wake):
                self._phase(order.model, "awake", now)
                self._awake.add(order.model)
                if self._leaving_since is not None:
                    self.switch_seconds.append(now - self._leaving_since)
                    self._leaving_since = None
                self._obey(self._arbiter.woke(order.model, ok=True, now=now), now)
        else:
            self._obey(self._arbiter.tick(now=now), now)

    def spans(self, end: float) -> list[Span]:
        """Return who was awake when, up to *end*."""
        open_ones = [Span(model, phase, start, end) for model, (phase, start) in self._since.items() if start < end]
        return sorted([*self._spans, *open_ones], key=lambda span: span.start)

    def _obey(self, orders: Iterable[Order], now: float) -> None:
        for order in orders:
            if isinstance(order, Grant):
                self._world.enter(int(order.lease), now)
            elif isinstance(order, Refuse):
                self._world.refuse(int(order.lease), order.reason)
            elif isinstance(order, Revoke):
                self._revoked.append(self._world.abort(int(order.lease), order.reason, now))
            elif isinstance(order, Sleep):
                self._leave(order, now)
            elif isinstance(order, Wake):
                self._phase(order.model, "waking", now)
                self._start(order, now + self._seats[order.model].wake_seconds)
        while self._revoked:
            self.release(self._revoked.pop(), now)
        self._tick = self._arbiter.next_tick(now)
        soonest = self._under_way[0][0] if self._under_way else math.inf
        self.next_event = min(soonest, math.inf if self._tick is None else self._tick)

    def _leave(self, order: Sleep, now: float) -> None:
        seat = self._seats[order.model]
        self._awake.discard(order.model)
        self._phase(order.model, "sleeping", now)
        if self._leaving_since is None:
            self._leaving_since = now
        first = order.model not in self._slept and seat.first_sleep_seconds is not None
        self._slept.add(order.model)
        self._start(order, now + (seat.first_sleep_seconds or 0.0 if first else seat.sleep_seconds))

    def _start(self, order: Order, end: float) -> None:
        heapq.heappush(self._under_way, (end, next(self._order), order))

    def _phase(self, model: str, phase: str, now: float) -> None:
        if model in self._since:
            before, start = self._since.pop(model)
            self._spans.append(Span(model, before, start, now))
        if phase:
            self._since[model] = (phase, now)


def _next_event(each: Engine | _Group) -> float:
    return each.next_event
