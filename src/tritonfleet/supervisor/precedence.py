"""Whose turn it is on a shared device, and who must go for it. Pure; times are seconds of the arbiter's clock."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from tritonfleet.supervisor.seats import Phase, Policy, Seat


@dataclass
class Precedence:
    """The policy applied to seats; it looks at them and changes none."""

    policy: Policy
    last_switch_seconds: float = 0.0
    """How long the device was nobody's at the last switch."""

    @property
    def residency(self) -> float:
        """How long a model that woke keeps the device while it has work and nobody is overdue."""
        return max(self.policy.min_residency_seconds, self.policy.residency_per_switch * self.last_switch_seconds)

    def in_order(self, waiting: Iterable[Seat], now: float) -> list[Seat]:
        """Return *waiting*, the most urgent first."""
        return sorted(waiting, key=lambda seat: self._urgency(seat, now), reverse=True)

    def is_overdue(self, seat: Seat, now: float) -> bool:
        """Whether *seat* has waited for so long that no priority counts any more."""
        return now >= seat.waits_since + self.policy.max_wait_seconds

    def victims(self, newcomer: Seat, seats: Iterable[Seat], missing: int, now: float) -> list[Seat] | None:
        """Return who of *seats* must sleep for *newcomer*, which lacks *missing* bytes; None if it has to wait."""
        if missing <= 0:
            return []
        may_go = [seat for seat in seats if self._may_go(seat, newcomer, now)]
        # Idle ones first, then those of low priority, then who was used longest ago, then the last of the fleet.
        may_go.sort(key=lambda seat: (bool(seat.leases), seat.member.priority, seat.last_used, -seat.index))
        victims: list[Seat] = []
        for seat in may_go:
            if missing > 0:
                victims.append(seat)
                missing -= seat.member.need_bytes
        for seat in tuple(victims):  # a large one at the end may make earlier ones needless
            if missing + seat.member.need_bytes <= 0:
                victims.remove(seat)
                missing += seat.member.need_bytes
        return victims if missing <= 0 else None

    def _urgency(self, seat: Seat, now: float) -> tuple[bool, bool, float, float]:
        """Overdue ones by age, then those with requests by priority and age, then mere starts.

        Of mere starts the one that is least wanted is first, since the last one stays awake.
        """
        if self.is_overdue(seat, now):
            return (True, True, 0.0, -seat.waits_since)
        if seat.waiters:
            return (False, True, seat.member.priority, -seat.waits_since)
        warm = math.inf if seat.member.keep_warm else -seat.member.priority
        return (False, False, warm, seat.index)

    def _may_go(self, seat: Seat, newcomer: Seat, now: float) -> bool:
        if seat.phase is not Phase.AWAKE or seat.member.keep_warm:
            return False
        if not seat.leases and now >= seat.last_used + self.policy.idle_seconds:
            return True
        if now < seat.awake_since + self.policy.min_residency_seconds:
            return False
        if self.is_overdue(newcomer, now) or seat.member.priority < newcomer.member.priority:
            return True
        return seat.member.priority == newcomer.member.priority and now >= seat.awake_since + self.residency
