"""Who holds the leases of a share group or waits for one, and how many there were; passes the arbiter's answers on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from tritonfleet.errors import EngineFailed
from tritonfleet.supervisor.seats import Grant, Refuse, Revoke


class Holder(Protocol):
    """Who asked for a lease; exactly one of ``granted`` and ``refused`` is called for each."""

    def granted(self, lease: str) -> None:
        """The lease may be used until it is given back."""
        ...

    def refused(self, lease: str, reason: str, retry_after_seconds: float) -> None:
        """There is no lease."""
        ...

    def revoked(self, lease: str, reason: str) -> None:
        """The request must end; the lease is given back as always."""
        ...


@dataclass
class Counts:
    """Leases of one model since the fleet came up."""

    asked: int = 0
    held: int = 0
    """Those that were not granted at once."""
    refused: int = 0


class LeaseBook:
    """The open leases of one group."""

    def __init__(self, models: Iterable[str]) -> None:
        self.counts = {model: Counts() for model in models}
        self._holders: dict[str, tuple[str, Holder]] = {}
        """Lease to its model and who asked."""

    def enter(self, lease: str, model: str, holder: Holder) -> None:
        """*holder* asks for *lease*; what becomes of it is told to it."""
        self.counts[model].asked += 1
        self._holders[lease] = model, holder

    def strike(self, lease: str) -> bool:
        """Forget *lease*; return whether it was open."""
        return self._holders.pop(lease, None) is not None

    def answer(self, order: Grant | Refuse | Revoke) -> None:
        """Tell the holder of the lease, unless it is gone; a refused lease is closed."""
        entry = self._holders.get(order.lease)
        if entry is None:
            return
        model, holder = entry
        match order:
            case Grant(lease):
                holder.granted(lease)
            case Revoke(lease, reason):
                holder.revoked(lease, reason)
            case Refuse(lease, reason, retry_after_seconds):
                del self._holders[lease]
                self.counts[model].refused += 1
                holder.refused(lease, reason, retry_after_seconds)


class Waker:
    """A lease that is asked for only to have the model awake."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def granted(self, lease: str) -> None:
        """The model is awake."""
        if not self.answer.done():
            self.answer.set_result(None)

    def refused(self, lease: str, reason: str, retry_after_seconds: float) -> None:
        """It does not wake; ``answer`` raises EngineFailed."""
        if not self.answer.done():
            self.answer.set_exception(EngineFailed(reason))

    def revoked(self, lease: str, reason: str) -> None:
        """It is given back at once anyway."""
