"""One request on its way through: what it waits for, and how it is interrupted.

A request ends early when its client goes away, or when one side says nothing for too long. A timer for each chunk
would cost more than the chunk, so a request only counts its steps, and one task looks once a second which requests
stand still.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from enum import IntEnum
from types import TracebackType
from typing import Self

from starlette.types import Receive

from tritonfleet.gateway.problem import Problem

LOOK_SECONDS = 1.0


class Wait(IntEnum):
    """What a request waits for."""

    NOTHING = 0
    """Its turn, which has a deadline of its own."""
    BODY = 1
    """The rest of its body from the client."""
    ENGINE = 2
    """The next bytes from the engine."""
    CLIENT = 3
    """Room in the connection: the client does not read."""


class ClientGone(Exception):
    """The client closed the connection."""


class Exchange:
    """A block of code that ends early, with ClientGone or a Problem, when there is a reason."""

    def __init__(self, watchdog: Watchdog) -> None:
        self.wait = Wait.NOTHING
        self.steps = 0
        """Counts every step forward."""
        self.steps_seen = -1
        self.still_since = 0.0
        self._watchdog = watchdog
        self._task: asyncio.Task[object] | None = None
        self._reason: ClientGone | Problem | None = None
        self._listener: asyncio.Task[None] | None = None

    def __enter__(self) -> Self:
        self._task = asyncio.current_task()
        self._watchdog.exchanges.add(self)
        return self

    def listen(self, receive: Receive) -> None:
        """From here on, the block ends when the client goes away; the body must have been read."""
        self._listener = asyncio.create_task(self._until_gone(receive))

    async def _until_gone(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.interrupt(ClientGone())

    def interrupt(self, reason: ClientGone | Problem) -> None:
        """End the block with *reason*."""
        if self._reason is None and self._task is not None:
            self._reason = reason
            self._task.cancel()

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, _: TracebackType | None) -> None:
        self._watchdog.exchanges.discard(self)
        task, self._task = self._task, None
        if self._listener is not None:
            self._listener.cancel()
        if self._reason is not None and task is not None and task.uncancel() == 0 and kind is asyncio.CancelledError:
            raise self._reason from err


class Watchdog:
    """Ends requests that stand still."""

    def __init__(self, limits_seconds: Mapping[Wait, float]) -> None:
        self.exchanges: set[Exchange] = set()
        self._limits = limits_seconds

    async def run(self) -> None:
        """Look once a second, for ever."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.look(time.monotonic())

    def look(self, now: float) -> None:
        """Interrupt every request that has made no step within its limit."""
        for exchange in list(self.exchanges):
            if exchange.steps != exchange.steps_seen:
                exchange.steps_seen, exchange.still_since = exchange.steps, now
            elif now - exchange.still_since > self._limits.get(exchange.wait, float("inf")):
                exchange.interrupt(self._problem(exchange.wait))

    def _problem(self, wait: Wait) -> Problem:
        seconds = self._limits[wait]
        if wait is Wait.ENGINE:
            return Problem(504, "engine_timeout", f"the engine sent nothing for {seconds:g} s", src="engine")
        if wait is Wait.BODY:
            return Problem(408, "body_timeout", f"no more of the request's body came for {seconds:g} s")
        return Problem(408, "client_timeout", f"the client read nothing for {seconds:g} s")
