"""What the arbiter of a shared device knows, is told and orders, as values. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum

from tritonfleet.spec.sharing import ShareSpec


class Phase(Enum):
    """Where a model is between not running and awake."""

    OFF = "off"
    """Its engine does not run, and holds nothing."""
    STARTING = "starting"
    ASLEEP = "asleep"
    WAKING = "waking"
    AWAKE = "awake"
    DRAINING = "draining"
    """Awake, but no new lease is granted; it sleeps when the last one is back."""
    SLEEPING = "sleeping"
    BROKEN = "broken"
    """A sleep or wake failed and the engine is being ended; it may still hold its memory."""


#: Phases of a model that holds nothing of the device.
AWAY = frozenset({Phase.OFF, Phase.ASLEEP})
#: Phases of a model whose requests are served or held.
SERVED = frozenset({Phase.ASLEEP, Phase.WAKING, Phase.AWAKE, Phase.DRAINING, Phase.SLEEPING})


@dataclass(frozen=True)
class Member:
    """What the policy knows of one model."""

    name: str
    need_bytes: int
    """Device memory while awake."""
    priority: int = 0
    """Higher goes first among waiting models, and keeps the device from lower ones while it has work."""
    keep_warm: bool = False
    """Never put to sleep for another model."""


@dataclass(frozen=True)
class Policy:
    """When the device changes hands."""

    min_residency_seconds: float = 2.0
    """A model that woke keeps the device at least this long while it has work."""
    residency_per_switch: float = 4.0
    """It keeps it also this many times as long as the last switch took, so that most of the time goes to work."""
    idle_seconds: float = 0.5
    """A model without a request for this long has no work any more."""
    max_wait_seconds: float = 30.0
    """A request that waited this long goes before any priority, and ends a residency longer than the minimum."""
    drain_seconds: float = math.inf
    """Requests of a leaving model that run longer than this are ended."""
    revoke_seconds: float = 5.0
    """Time for the holders of ended leases to give them back; then the engine is ended."""


def policy_of(sharing: ShareSpec) -> Policy:
    """Return the arbiter's policy for what a person wrote."""
    return Policy(
        min_residency_seconds=sharing.min_residency_seconds,
        residency_per_switch=sharing.residency_per_switch,
        idle_seconds=sharing.idle_seconds,
        max_wait_seconds=sharing.max_wait_seconds,
        drain_seconds=sharing.drain_seconds,
    )


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
class Revoke:
    """The lease's request must end now; its holder gives the lease back as always."""

    lease: str
    reason: str


@dataclass(frozen=True)
class Start:
    """Start the model's engine; report with ``started`` or ``gone``."""

    model: str


@dataclass(frozen=True)
class Sleep:
    """Put the model's engine to sleep; report with ``slept``."""

    model: str


@dataclass(frozen=True)
class Wake:
    """Wake the model's engine and probe it; report with ``woke``."""

    model: str


@dataclass(frozen=True)
class Restart:
    """End the model's engine by force; report with ``gone``, and with ``start`` if it should run again."""

    model: str
    reason: str


Order = Grant | Refuse | Revoke | Start | Sleep | Wake | Restart


@dataclass(frozen=True)
class SeatView:
    """One model as status and metrics show it."""

    model: str
    phase: Phase
    leases: int
    waiting: int
    oldest_wait_seconds: float


@dataclass
class Seat:
    """One model's place in the group; owned by the arbiter."""

    member: Member
    index: int
    phase: Phase = Phase.ASLEEP
    awake_since: float = 0.0
    last_used: float = -math.inf
    leases: set[str] = field(default_factory=set)
    waiters: dict[str, float] = field(default_factory=dict)
    """Lease to the time at which it was asked for, oldest first."""
    start_asked: float | None = None
    """Since when its engine wants to start."""
    draining_since: float = 0.0
    revoked_at: float | None = None
    resting: bool = False
    """It drains because somebody asked for that, not for another model."""

    @property
    def holds_memory(self) -> bool:
        """Whether it holds, or may hold, its memory of the device."""
        return self.phase not in AWAY

    @property
    def wants_in(self) -> bool:
        """Whether it needs the device and does not have it."""
        return (self.phase is Phase.ASLEEP and bool(self.waiters)) or (
            self.phase is Phase.OFF and self.start_asked is not None
        )

    @property
    def waits_since(self) -> float:
        """Time of the oldest request that waits, or at which the start was asked for."""
        first = next(iter(self.waiters.values()), math.inf)
        return first if self.start_asked is None else min(first, self.start_asked)

    def drain(self, now: float) -> None:
        """Grant no more leases."""
        self.phase, self.draining_since, self.revoked_at = Phase.DRAINING, now, None

    def view(self, now: float) -> SeatView:
        """Return its state as a value."""
        oldest = now - next(iter(self.waiters.values())) if self.waiters else 0.0
        return SeatView(self.member.name, self.phase, len(self.leases), len(self.waiters), oldest)
