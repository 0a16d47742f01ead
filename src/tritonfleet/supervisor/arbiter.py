"""Who is awake on a shared device: a pure state machine. Time and results come in, orders go out.

Models of a share group take turns on one device. A request takes a lease for its model before it is forwarded and
gives it back when it has ended. The arbiter grants leases of models that are awake and queues the others. To bring
a sleeping model in it stops granting leases of the models that must go (*draining*), waits until their running
requests have ended, orders them to sleep, and then orders the newcomer to wake. It never orders a sleep while a
lease is out, and never lets more be awake than the device holds.

An engine needs the whole of its memory to start, so a start is a turn like any other: ``start`` asks for it, the
arbiter orders it when there is room, and the model is awake afterwards. Engines of a group thus start one after the
other.

The caller executes the orders, one at a time in any order, and reports each one's result back. Nothing here reads a
clock: every event carries ``now`` in seconds.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable

from tritonfleet.supervisor.precedence import Precedence
from tritonfleet.supervisor.seats import (
    SERVED,
    Grant,
    Member,
    Order,
    Phase,
    Policy,
    Refuse,
    Restart,
    Revoke,
    Seat,
    SeatView,
    Sleep,
    Start,
    Wake,
)

__all__ = [
    "SERVED",
    "Arbiter",
    "Grant",
    "Member",
    "Order",
    "Phase",
    "Policy",
    "Refuse",
    "Restart",
    "Revoke",
    "SeatView",
    "Sleep",
    "Start",
    "Wake",
]


class Arbiter:
    """The group of models that share one device. All of them are asleep until told otherwise."""

    def __init__(self, members: Iterable[Member], capacity_bytes: int, policy: Policy) -> None:
        self._seats = {member.name: Seat(member, index) for index, member in enumerate(members)}
        self._capacity = capacity_bytes
        self._policy = policy
        self._precedence = Precedence(policy)
        self._where: dict[str, Seat] = {}
        """The seat at which each lease is out or waited for."""
        self._deadlines: list[tuple[float, str]] = []
        self._candidate: str | None = None
        self._promised = 0.0
        """When the candidate was chosen."""
        self._sleeps_ordered: float | None = None
        """When the first sleep was ordered for the candidate; None while nobody left for it."""
        self.switches = 0
        """Times that a model woke for which another had to sleep."""
        self.switch_seconds: list[float] = []
        """How long each switch took, from the decision to the wake; the caller may take entries out."""
        warm = sum(seat.member.need_bytes for seat in self._seats.values() if seat.member.keep_warm)
        for seat in self._seats.values():
            room = capacity_bytes - (0 if seat.member.keep_warm else warm)
            if seat.member.need_bytes > room:
                beside = " beside those that are kept warm" if warm and not seat.member.keep_warm else ""
                raise ValueError(f"{seat.member.name} alone does not fit on the device{beside}")

    # --- events -----------------------------------------------------------------------------------------------

    def start(self, *models: str, now: float) -> list[Order]:
        """The engines of *models* do not run and should; ``Start`` is ordered for each when there is room for it."""
        for model in models:
            seat = self._seats[model]
            seat.phase, seat.start_asked = Phase.OFF, now
        return self._decide(now)

    def started(self, model: str, *, awake: bool, now: float) -> list[Order]:
        """The engine of *model* is up, awake or asleep."""
        seat = self._seats[model]
        seat.start_asked = None
        seat.phase = Phase.AWAKE if awake else Phase.ASLEEP
        seat.awake_since, seat.last_used = now, -math.inf
        self._arrived(seat)
        return self._decide(now)

    def gone(self, model: str, *, reason: str, now: float) -> list[Order]:
        """The engine of *model* has ended, whatever ended it, and holds nothing any more."""
        seat = self._seats[model]
        orders = self._clear(seat, reason)
        seat.phase, seat.start_asked = Phase.OFF, None
        self._arrived(seat)
        return [*orders, *self._decide(now)]

    def request(self, lease: str, model: str, *, now: float, deadline: float) -> list[Order]:
        """A request asks for a lease of *model*; it gives up at *deadline*."""
        seat = self._seats[model]
        if seat.phase is Phase.BROKEN or (seat.phase is Phase.OFF and seat.start_asked is None):
            return [Refuse(lease, f"{model} is being started again after a failure", self._retry_after())]
        if seat.phase is Phase.AWAKE:
            seat.leases.add(lease)
            seat.last_used = now
            self._where[lease] = seat
            return [Grant(lease)]
        seat.waiters[lease] = now
        self._where[lease] = seat
        heapq.heappush(self._deadlines, (deadline, lease))
        return self._decide(now)

    def release(self, lease: str, *, now: float) -> list[Order]:
        """A lease was given back, or its holder went away while it waited; unknown ones are ignored."""
        seat = self._where.pop(lease, None)
        if seat is None:
            return []
        if lease in seat.leases:
            seat.leases.remove(lease)
            seat.last_used = now
        seat.waiters.pop(lease, None)
        return self._decide(now)

    def rest(self, model: str, *, now: float) -> list[Order]:
        """Somebody asks *model* to sleep without another model in need; its next request wakes it."""
        seat = self._seats[model]
        if seat.phase is Phase.AWAKE:
            seat.drain(now)
        seat.resting = seat.phase in (Phase.DRAINING, Phase.SLEEPING)
        return self._decide(now)

    def slept(self, model: str, *, ok: bool, now: float, reason: str = "") -> list[Order]:
        """The ordered sleep has ended, its memory given back; not *ok* means the engine must be started again."""
        return self._switched(model, Phase.SLEEPING, Phase.ASLEEP, ok=ok, now=now, reason=reason)

    def woke(self, model: str, *, ok: bool, now: float, reason: str = "") -> list[Order]:
        """The ordered wake has ended and the engine answers; not *ok* means it must be started again."""
        seat = self._seats[model]
        if ok and seat.phase is Phase.WAKING:
            seat.awake_since = seat.last_used = now
            self._count_switch(model, now)
        return self._switched(model, Phase.WAKING, Phase.AWAKE, ok=ok, now=now, reason=reason)

    def tick(self, *, now: float) -> list[Order]:
        """Time has passed; call it at ``next_tick``."""
        return self._decide(now)

    # --- views ------------------------------------------------------------------------------------------------

    def next_tick(self, now: float) -> float | None:
        """Return the earliest time at which waiting alone changes something, or None."""
        policy = self._policy
        moments = [self._deadlines[0][0]] if self._deadlines else []
        for seat in self._seats.values():
            if seat.phase is Phase.DRAINING:
                moments.append(seat.draining_since + policy.drain_seconds)
                if seat.revoked_at is not None:
                    moments.append(seat.revoked_at + policy.revoke_seconds)
        if any(seat.wants_in for seat in self._seats.values()):
            for seat in self._seats.values():
                if seat.phase is Phase.AWAKE:
                    moments += [
                        seat.awake_since + policy.min_residency_seconds,
                        seat.awake_since + self._precedence.residency,
                    ]
                    moments.append(seat.last_used + policy.idle_seconds)
                elif seat.wants_in:
                    moments.append(seat.waits_since + policy.max_wait_seconds)
        return min((moment for moment in moments if now < moment < math.inf), default=None)

    def view(self, now: float) -> tuple[SeatView, ...]:
        """Return every model's state for status and metrics."""
        return tuple(seat.view(now) for seat in self._seats.values())

    def phase(self, model: str) -> Phase:
        """Return where *model* is."""
        return self._seats[model].phase

    # --- decisions --------------------------------------------------------------------------------------------

    def _switched(self, model: str, before: Phase, after: Phase, *, ok: bool, now: float, reason: str) -> list[Order]:
        seat = self._seats[model]
        if seat.phase is not before:  # it died, or was taken out, while the order was under way
            return []
        seat.resting = False
        if ok:
            seat.phase = after
            self._arrived(seat)
            return self._decide(now)
        why = f"{model} failed to switch and is being started again{f': {reason}' if reason else ''}"
        return [*self._break(seat, why), *self._decide(now)]

    def _break(self, seat: Seat, reason: str) -> list[Order]:
        orders = self._clear(seat, reason)
        seat.phase = Phase.BROKEN
        self._arrived(seat)
        return [*orders, Restart(seat.member.name, reason)]

    def _clear(self, seat: Seat, reason: str) -> list[Order]:
        """Refuse all who wait, and forget the leases that are out: their engine is gone or will be."""
        refused: list[Order] = [Refuse(lease, reason, self._retry_after()) for lease in seat.waiters]
        for lease in (*seat.waiters, *seat.leases):
            del self._where[lease]
        seat.waiters.clear()
        seat.leases.clear()
        seat.resting = False
        return refused

    def _arrived(self, seat: Seat) -> None:
        """The way of the chosen model has ended, well or not; without one, those who drained for it serve again."""
        if self._candidate == seat.member.name:
            self._candidate = None
        if self._candidate is None:
            self._sleeps_ordered = None
            self._reprieve()

    def _reprieve(self) -> None:
        for seat in self._seats.values():
            if seat.phase is Phase.DRAINING and not seat.resting and seat.revoked_at is None:
                seat.phase = Phase.AWAKE

    def _count_switch(self, model: str, now: float) -> None:
        if self._candidate == model and self._sleeps_ordered is not None:
            self.switches += 1
            self.switch_seconds.append(now - self._promised)
            self._precedence.last_switch_seconds = now - self._sleeps_ordered

    def _decide(self, now: float) -> list[Order]:
        orders: list[Order] = [*self._expire(now), *self._end_overdue_drains(now), *self._grant(now)]
        if self._candidate is not None and not self._on_its_way(self._seats[self._candidate]):
            self._arrived(self._seats[self._candidate])
            orders += self._grant(now)
        if self._candidate is None:
            self._candidate = self._choose(now)
        return [*orders, *self._sleeps(now), *self._bring_in()]

    def _on_its_way(self, newcomer: Seat) -> bool:
        """Whether the chosen model is still waited for and can still come in."""
        if newcomer.phase in (Phase.WAKING, Phase.STARTING):
            return True
        return newcomer.wants_in and (self._fits(newcomer) or any(self._leaves(seat) for seat in self._seats.values()))

    def _expire(self, now: float) -> list[Order]:
        refused: list[Order] = []
        while self._deadlines and self._deadlines[0][0] <= now:
            lease = heapq.heappop(self._deadlines)[1]
            seat = self._where.get(lease)
            if seat is None or lease not in seat.waiters:
                continue
            waited = now - seat.waiters.pop(lease)
            del self._where[lease]
            reason = f"{seat.member.name} did not get the device within {waited:.1f} s"
            refused.append(Refuse(lease, reason, self._retry_after()))
        return refused

    def _end_overdue_drains(self, now: float) -> list[Order]:
        orders: list[Order] = []
        policy = self._policy
        for seat in self._seats.values():
            if seat.phase is not Phase.DRAINING or not seat.leases:
                continue
            if seat.revoked_at is None and now >= seat.draining_since + policy.drain_seconds:
                seat.revoked_at = now
                reason = f"another model needs the device, and this request ran on for {policy.drain_seconds:g} s"
                orders += [Revoke(lease, reason) for lease in sorted(seat.leases)]
            elif seat.revoked_at is not None and now >= seat.revoked_at + policy.revoke_seconds:
                orders += self._break(seat, f"{seat.member.name} has requests that do not end, and is started again")
        return orders

    def _grant(self, now: float) -> list[Order]:
        granted: list[Order] = []
        for seat in self._seats.values():
            if seat.phase is Phase.AWAKE and seat.waiters:
                granted += [Grant(lease) for lease in seat.waiters]
                seat.leases.update(seat.waiters)
                seat.waiters.clear()
                seat.last_used = now
        return granted

    def _choose(self, now: float) -> str | None:
        """Pick the model whose turn it is, if the device can be had for it, and drain those that must go."""
        for seat in self._precedence.in_order([seat for seat in self._seats.values() if seat.wants_in], now):
            victims = self._precedence.victims(seat, self._seats.values(), self._missing(seat), now)
            if victims is not None:
                for victim in victims:
                    victim.drain(now)
                self._promised, self._sleeps_ordered = now, None
                return seat.member.name
            if self._precedence.is_overdue(seat, now):  # others would take its place again and again
                return None
        return None

    def _missing(self, newcomer: Seat) -> int:
        """Return the bytes that *newcomer* lacks when all have left that are leaving now."""
        leaving = sum(seat.member.need_bytes for seat in self._seats.values() if self._leaves(seat))
        return newcomer.member.need_bytes - self._free_bytes() - leaving

    def _free_bytes(self) -> int:
        return self._capacity - sum(seat.member.need_bytes for seat in self._seats.values() if seat.holds_memory)

    def _sleeps(self, now: float) -> list[Order]:
        """Order to sleep who has drained."""
        orders: list[Order] = []
        for seat in self._seats.values():
            if seat.phase is Phase.DRAINING and not seat.leases:
                seat.phase = Phase.SLEEPING
                if self._candidate is not None and self._sleeps_ordered is None:
                    self._sleeps_ordered = now
                orders.append(Sleep(seat.member.name))
        return orders

    def _bring_in(self) -> list[Order]:
        """Order the chosen model to wake or start, once there is room."""
        if self._candidate is None:
            return []
        newcomer = self._seats[self._candidate]
        if not newcomer.wants_in or not self._fits(newcomer):
            return []
        if newcomer.phase is Phase.ASLEEP:
            newcomer.phase = Phase.WAKING
            return [Wake(newcomer.member.name)]
        newcomer.phase, newcomer.start_asked = Phase.STARTING, None
        return [Start(newcomer.member.name)]

    def _fits(self, newcomer: Seat) -> bool:
        return self._free_bytes() >= newcomer.member.need_bytes

    @staticmethod
    def _leaves(seat: Seat) -> bool:
        return seat.phase in (Phase.DRAINING, Phase.SLEEPING, Phase.BROKEN)

    def _retry_after(self) -> float:
        """Return when the device may be had: whoever has it keeps it for so long while it works."""
        policy = self._policy
        return max(1.0, policy.min_residency_seconds, min(self._precedence.residency, policy.max_wait_seconds))
