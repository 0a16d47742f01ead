"""The gateway's leases: a request for a model that shares its device waits until the model is awake."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext

from tritonfleet.gateway.engines import Headers
from tritonfleet.gateway.exchange import Exchange
from tritonfleet.gateway.problem import Problem
from tritonfleet.leases import Leases, NoLease
from tritonfleet.wire import Route

#: Headers in which a client tells how long it waits, in seconds; the second is what OpenAI's own clients send.
_PATIENCE = (b"x-request-timeout", b"x-stainless-read-timeout")
#: The answer should be there before the client gives up: this much earlier, or half of its time.
_MARGIN_SECONDS = 1.0

#: Models with a device of their own pay nothing: no connection, no round trip.
_FREE: AbstractAsyncContextManager[None] = nullcontext()


class DeviceTurns:
    """The leases of one worker."""

    def __init__(self, control_socket: str) -> None:
        self._leases = Leases(control_socket)

    def hold(
        self, route: Route, headers: Headers, exchange: Exchange, *, generates: bool
    ) -> AbstractAsyncContextManager[None]:
        """Hold the model awake while the block runs; entering waits, and raises Problem (503) when it was too long."""
        if route.lease == "none" or (route.lease == "generate" and not generates):
            return _FREE
        return self._hold(route, min(route.hold_seconds, patience(headers)), exchange)

    @asynccontextmanager
    async def _hold(self, route: Route, seconds: float, exchange: Exchange) -> AsyncIterator[None]:
        def revoked(reason: str) -> None:
            text = f"the request was ended: {reason}; send it again"
            exchange.interrupt(Problem(503, "device_taken", text, retry_after_seconds=1.0))

        try:
            async with self._leases.hold(route.model, seconds, revoked):
                yield
        except NoLease as err:
            text = f"{err}; try again later"
            raise Problem(503, "model_not_awake", text, retry_after_seconds=err.retry_after_seconds) from err

    async def close(self) -> None:
        """Give everything back."""
        await self._leases.close()


def patience(headers: Headers) -> float:
    """Return how long a request may be held for its client, in seconds; infinite when the client does not tell."""
    for name in _PATIENCE:
        for key, value in headers:
            if key == name and (seconds := _seconds(value)) > 0:
                return max(seconds - _MARGIN_SECONDS, seconds / 2)
    return math.inf


def _seconds(value: bytes) -> float:
    try:
        seconds = float(value)
    except ValueError:
        return 0.0
    return seconds if math.isfinite(seconds) else 0.0
