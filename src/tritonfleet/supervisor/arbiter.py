"""Who is awake on a shared device: a pure state machine. Time and results come in, orders go out.

Models of a share group take turns on one device. A request takes a lease for its model before it is forwarded and
gives it back when it has ended. The arbiter grants leases of models that are awake and queues the others. To bring
a sleeping model in it stops granting leases of the models that must go (*draining*), waits until their running
requests have ended, orders them to sleep, and then orders the newcomer to wake. It never orders a sleep while a
lease is out, and never lets more be awake than the device holds.

The caller executes the orders, one at a time in any order, and reports each one's result back. Nothing here reads a
clock: every event carries ``now`` in seconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum


class Phase(Enum):
    """Where a model is between asleep and awake."""

    ASLEEP = "asleep"
    WAKING = "waking"
    AWAKE = "awake"
    DRAINING = "draining"
    """Awake, but no new lease is granted; it sleeps when the last one is back."""
    SLEEPING = "sleeping"
    BROKEN = "broken"
    """A sleep or wake failed and the engine is being started again; it may still hold its memory."""


@dataclass(frozen=True)
class Member:
    """What the policy knows of one model."""

    name: str
    need_bytes: int
    """Device memory while awake."""
    priority: int = 0
    """Higher goes first among waiting models."""
    keep_warm: bool = False
    """Never put to sleep for another model."""


@dataclass(frozen=True)
class Policy:
    """When the device changes hands."""

    min_residency_seconds: float = 2.0
    """A model that woke keeps the device at least this long while it has work."""
    idle_seconds: float = 0.5
    """A model without a request for this long has no work any more."""
    max_wait_seconds: float = 30.0
    """A request that waited this long goes before any priority."""


@dataclass(frozen=True)
class Grant:
    """The lease may be used."""

    lease: str


@dataclass(frozen=True)
class Refuse:
    """The lease is not given; the client should try again after *retry_after_seconds*."""

    lease: str
    reason: str
    retry_after_seconds: float


@dataclass(frozen=True)
class Sleep:
    """Put the model's engine to sleep; report with ``slept``."""

    model: str


@dataclass(frozen=True)
class Wake:
    """Wake the model's engine and probe it; report with ``woke``."""

    model: str


Order = Grant | Refuse | Sleep | Wake


@dataclass
class _Waiter:
    lease: str
    since: float
    deadline: float


@dataclass
class _Seat:
    """One model's place in the group."""

    member: Member
    phase: Phase = Phase.ASLEEP
    awake_since: float = 0.0
    last_used: float = 0.0
    leases: set[str] = field(default_factory=set)
    waiters: list[_Waiter] = field(default_factory=list)

    @property
    def holds_memory(self) -> bool:
        return self.phase is not Phase.ASLEEP


@dataclass(frozen=True)
class SeatView:
    """One model as status and metrics show it."""

    model: str
    phase: Phase
    leases: int
    waiting: int
    oldest_wait_seconds: float


class Arbiter:
    """The group of models that share one device."""

    def __init__(self, members: Iterable[Member], capacity_bytes: int, policy: Policy) -> None:
        self._seats = {member.name: _Seat(member) for member in members}
        self._capacity = capacity_bytes
        self._policy = policy
        self._candidate: str | None = None
        self.switches = 0
        """Times that the device was promised to a model for which another must sleep."""
        too_big = [seat.member.name for seat in self._seats.values() if seat.member.need_bytes > capacity_bytes]
        if too_big:
            raise ValueError(f"{too_big[0]} alone does not fit on the device")

    # --- events -----------------------------------------------------------------------------------------------

    def started(self, model: str, *, awake: bool, now: float) -> list[Order]:
        """The engine of *model* is up, awake or put to sleep by its start; also after a repair."""
        seat = self._seats[model]
        seat.phase = Phase.AWAKE if awake else Phase.ASLEEP
        seat.awake_since = seat.last_used = now
        return self._decide(now)

    def request(self, lease: str, model: str, *, now: float, deadline: float) -> list[Order]:
        """A request asks for a lease of *model*; it gives up at *deadline*."""
        seat = self._seats[model]
        if seat.phase is Phase.BROKEN:
            return [Refuse(lease, f"{model} is being started again after a failed switch", self._retry_after())]
        seat.waiters.append(_Waiter(lease, now, deadline))
        return self._decide(now)

    def release(self, lease: str, *, now: float) -> list[Order]:
        """A lease was given back, or its holder went away while it waited; unknown ones are ignored."""
        for seat in self._seats.values():
            if lease in seat.leases:
                seat.leases.remove(lease)
                seat.last_used = now
            seat.waiters = [waiter for waiter in seat.waiters if waiter.lease != lease]
        return self._decide(now)

    def slept(self, model: str, *, ok: bool, now: float) -> list[Order]:
        """The ordered sleep has ended, its memory given back; not *ok* means the engine must be started again."""
        return self._switched(model, Phase.ASLEEP, ok=ok, now=now)

    def woke(self, model: str, *, ok: bool, now: float) -> list[Order]:
        """The ordered wake has ended and the engine answers; not *ok* means it must be started again."""
        seat = self._seats[model]
        seat.awake_since = seat.last_used = now
        return self._switched(model, Phase.AWAKE, ok=ok, now=now)

    def failed(self, model: str, *, now: float) -> list[Order]:
        """The engine of *model* died by itself; ``started`` follows when it is back."""
        return self._switched(model, Phase.BROKEN, ok=False, now=now)

    def tick(self, *, now: float) -> list[Order]:
        """Time has passed; call it at ``next_tick``."""
        return self._decide(now)

    # --- views ------------------------------------------------------------------------------------------------

    def next_tick(self, now: float) -> float | None:
        """Return the earliest time at which waiting alone changes something, or None."""
        moments = [waiter.deadline for seat in self._seats.values() for waiter in seat.waiters]
        for seat in self._seats.values():
            if seat.phase is Phase.AWAKE:
                moments.append(seat.awake_since + self._policy.min_residency_seconds)
                moments.append(seat.last_used + self._policy.idle_seconds)
            moments += [waiter.since + self._policy.max_wait_seconds for waiter in seat.waiters]
        later = [moment for moment in moments if moment > now]
        return min(later) if later and any(seat.waiters for seat in self._seats.values()) else None

    def view(self, now: float) -> tuple[SeatView, ...]:
        """Return every model's state for status and metrics."""
        return tuple(
            SeatView(
                seat.member.name,
                seat.phase,
                len(seat.leases),
                len(seat.waiters),
                max((now - waiter.since for waiter in seat.waiters), default=0.0),
            )
            for seat in self._seats.values()
        )

    # --- decisions --------------------------------------------------------------------------------------------

    def _switched(self, model: str, phase: Phase, *, ok: bool, now: float) -> list[Order]:
        seat = self._seats[model]
        if self._candidate == model:
            self._candidate = None
        if ok:
            seat.phase = phase
            return self._decide(now)
        seat.phase = Phase.BROKEN
        seat.leases.clear()
        refused = [
            Refuse(waiter.lease, f"{model} failed to switch and is being started again", self._retry_after())
            for waiter in seat.waiters
        ]
        seat.waiters.clear()
        self._reprieve()
        return [*refused, *self._decide(now)]

    def _reprieve(self) -> None:
        """Let draining models serve again when nobody is coming in for them any more."""
        if self._candidate is None:
            for seat in self._seats.values():
                if seat.phase is Phase.DRAINING:
                    seat.phase = Phase.AWAKE

    def _decide(self, now: float) -> list[Order]:
        orders: list[Order] = [*self._expire(now), *self._grant(now)]
        if self._candidate is not None and not self._on_its_way(self._seats[self._candidate]):
            self._candidate = None
            self._reprieve()
            orders += self._grant(now)
        if self._candidate is None:
            self._candidate = self._choose(now)
        if self._candidate is not None:
            orders += self._advance(self._seats[self._candidate])
        return orders

    def _on_its_way(self, newcomer: _Seat) -> bool:
        """Whether the chosen model is still waited for and can still come in."""
        if newcomer.phase is Phase.WAKING:
            return True
        return bool(newcomer.waiters) and (self._fits(newcomer) or bool(self._leaving()))

    def _expire(self, now: float) -> list[Order]:
        refused: list[Order] = []
        for seat in self._seats.values():
            for waiter in [waiter for waiter in seat.waiters if waiter.deadline <= now]:
                seat.waiters.remove(waiter)
                waited = f"{now - waiter.since:.1f} s"
                refused.append(
                    Refuse(
                        waiter.lease,
                        f"{seat.member.name} did not get the device within {waited}",
                        self._retry_after(),
                    )
                )
        return refused

    def _grant(self, now: float) -> list[Order]:
        granted: list[Order] = []
        for seat in self._seats.values():
            if seat.phase is Phase.AWAKE and seat.waiters:
                for waiter in seat.waiters:
                    seat.leases.add(waiter.lease)
                    granted.append(Grant(waiter.lease))
                seat.waiters.clear()
                seat.last_used = now
        return granted

    def _choose(self, now: float) -> str | None:
        """Pick the sleeping model whose turn it is, if the device can be had for it, and drain those that must go."""
        waiting = [seat for seat in self._seats.values() if seat.phase is Phase.ASLEEP and seat.waiters]
        waiting.sort(key=lambda seat: self._urgency(seat, now), reverse=True)
        for seat in waiting:
            victims = self._victims(seat, now)
            if victims is not None:
                for victim in victims:
                    victim.phase = Phase.DRAINING
                self.switches += 1 if victims else 0
                return seat.member.name
        return None

    def _urgency(self, seat: _Seat, now: float) -> tuple[bool, int, float]:
        oldest = now - min(waiter.since for waiter in seat.waiters)
        return (oldest >= self._policy.max_wait_seconds, seat.member.priority, oldest)

    def _victims(self, newcomer: _Seat, now: float) -> list[_Seat] | None:
        """Return the models that must sleep for *newcomer*, none if it fits beside them, None if it must wait."""
        missing = newcomer.member.need_bytes - self._free_bytes()
        victims: list[_Seat] = []
        overdue = self._urgency(newcomer, now)[0]
        may_go = [seat for seat in self._seats.values() if self._may_go(seat, now, overdue=overdue)]
        # Idle ones first, then the one that was used longest ago.
        may_go.sort(key=lambda seat: (bool(seat.leases), seat.last_used))
        for seat in may_go:
            if missing <= 0:
                break
            victims.append(seat)
            missing -= seat.member.need_bytes
        return victims if missing <= 0 else None

    def _may_go(self, seat: _Seat, now: float, *, overdue: bool) -> bool:
        if seat.phase is not Phase.AWAKE or seat.member.keep_warm:
            return False
        rested = now >= seat.awake_since + self._policy.min_residency_seconds
        idle = not seat.leases and now >= seat.last_used + self._policy.idle_seconds
        return rested or overdue or idle

    def _free_bytes(self) -> int:
        return self._capacity - sum(seat.member.need_bytes for seat in self._seats.values() if seat.holds_memory)

    def _advance(self, newcomer: _Seat) -> list[Order]:
        """Order the next steps towards waking *newcomer*."""
        orders: list[Order] = []
        for seat in self._leaving():
            if seat.phase is Phase.DRAINING and not seat.leases:
                seat.phase = Phase.SLEEPING
                orders.append(Sleep(seat.member.name))
        if newcomer.phase is Phase.ASLEEP and self._fits(newcomer):
            newcomer.phase = Phase.WAKING
            orders.append(Wake(newcomer.member.name))
        return orders

    def _fits(self, newcomer: _Seat) -> bool:
        return self._free_bytes() >= newcomer.member.need_bytes

    def _leaving(self) -> list[_Seat]:
        return [seat for seat in self._seats.values() if seat.phase in (Phase.DRAINING, Phase.SLEEPING)]

    def _retry_after(self) -> float:
        return max(1.0, self._policy.min_residency_seconds)
