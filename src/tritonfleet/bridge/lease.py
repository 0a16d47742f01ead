"""The bridge's leases: a request for a model that shares its device waits until the model is awake."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext

from tritonfleet.bridge.failure import Unavailable
from tritonfleet.leases import Leases, NoLease, Revoked
from tritonfleet.wire import Route

#: Models with a device of their own pay nothing: no connection, no round trip.
_FREE: AbstractAsyncContextManager[None] = nullcontext()


class DeviceTurns:
    """The leases of one model instance."""

    def __init__(self, route: Route, control_socket: str) -> None:
        self._route = route
        self._leases = Leases(control_socket) if route.lease != "none" else None

    def hold(self, seconds: float | None, revoked: Revoked) -> AbstractAsyncContextManager[None]:
        """Hold the model awake while the block runs; entering waits, at most *seconds*, and raises Unavailable."""
        if self._leases is None:
            return _FREE
        hold_seconds = self._route.hold_seconds
        return self._hold(self._leases, hold_seconds if seconds is None else min(hold_seconds, seconds), revoked)

    @asynccontextmanager
    async def _hold(self, leases: Leases, seconds: float, revoked: Revoked) -> AsyncIterator[None]:
        try:
            async with leases.hold(self._route.model, seconds, revoked):
                yield
        except NoLease as err:
            raise Unavailable(f"{err}; try again in {err.retry_after_seconds:g} s") from err

    async def close(self) -> None:
        """Give everything back."""
        if self._leases is not None:
            await self._leases.close()
