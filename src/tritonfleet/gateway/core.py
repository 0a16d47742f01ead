"""What all requests of one worker share."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tritonfleet.gateway.admin import AdminToken
from tritonfleet.gateway.board import Board
from tritonfleet.gateway.body import BodyReader
from tritonfleet.gateway.command import GatewayOptions
from tritonfleet.gateway.engines import Engines
from tritonfleet.gateway.exchange import Wait, Watchdog
from tritonfleet.gateway.keys import Caller, KeyRing
from tritonfleet.gateway.lease import DeviceTurns
from tritonfleet.gateway.limits import Limits
from tritonfleet.gateway.line import Line
from tritonfleet.gateway.metrics import Metrics
from tritonfleet.gateway.names import Names, Target
from tritonfleet.gateway.problem import Problem
from tritonfleet.wire import Route


class Core:
    """The state of one worker: routes, engines, lines, limits, metrics."""

    def __init__(self, options: GatewayOptions, board: Board) -> None:
        self.options = options
        self.names = Names()
        self.heard = asyncio.Event()
        """Set once the routes were heard of."""
        self.metrics = Metrics(options.fleet)
        self.engines = Engines(board)
        self.devices = DeviceTurns(options.control)
        self.keys = KeyRing(Path(options.keys) if options.keys else None)
        self.admin_token = AdminToken(Path(options.admin_token) if options.admin_token else None)
        self.limits = Limits(board, self.metrics)
        self.bodies = BodyReader(options.max_body_bytes, options.max_held_bytes)
        self.watchdog = Watchdog(
            {
                Wait.BODY: options.stall_seconds,
                Wait.CLIENT: options.stall_seconds,
                Wait.ENGINE: options.engine_silence_seconds,
            }
        )
        self._replicas: dict[str, int] = {}
        self._lines: dict[str, Line] = {}

    def update(self, routes: tuple[Route, ...]) -> None:
        """Take the fleet's routes as they are now."""
        self.names = Names(routes)
        self.heard.set()
        self._replicas = {route.model: len(route.endpoints) for route in routes}
        self.metrics.know_pools({route.model: route.pool for route in routes if route.pool})
        for model in self._replicas:
            self.metrics.expect(model)
        for line in self._lines.values():
            line.advance()

    def find(self, name: str, caller: Caller, *, holds: bool = False) -> Target:
        """Return what a request's ``model`` means; raise Problem (400, 403, 404, 503).

        With *holds* and a ``hold_seconds``, a model whose engines are still to come is found too: its turn is awaited.
        """
        if not self.heard.is_set():
            text = "the gateway has not heard from the fleet's supervisor yet; try again in a second"
            raise Problem(503, "not_ready", text, retry_after_seconds=1.0)
        if not name:
            raise self.names.missing(caller.models)
        return self.names.find(name, caller.models, holds=holds and self.options.hold_seconds > 0)

    @asynccontextmanager
    async def turn(self, model: str, priority: int) -> AsyncIterator[None]:
        """Hold one of the turns of *model*; raise Problem (429) when it is overloaded."""
        line = self._line(model)
        started = time.perf_counter()
        waits = line.full
        if waits:
            self.metrics.gauges["waiting"].labels(model).inc()
        try:
            await self._take(line, model, priority)
        finally:
            if waits:
                self.metrics.gauges["waiting"].labels(model).dec()
        self.metrics.observe("wait_seconds", time.perf_counter() - started, model)
        gauge = self.metrics.gauges["in_flight"].labels(model)
        gauge.inc()
        began = time.monotonic()
        try:
            yield
        finally:
            gauge.dec()
            line.give_back(time.monotonic() - began)

    async def _take(self, line: Line, model: str, priority: int) -> None:
        """Wait in the line; for as long as requests are held where no engine of the model serves."""
        if self._replicas.get(model) or not self.options.hold_seconds:
            await line.take(model, priority)
            return
        try:
            await line.take(model, priority, self.options.hold_seconds)
        except Problem:
            self.names.find(model)  # says why there is still none, and when to come again
            raise

    def _line(self, model: str) -> Line:
        found = self._lines.get(model)
        if found is None:
            options = self.options
            found = self._lines[model] = Line(
                lambda: self._turns(model), math.ceil(options.max_waiting / options.workers), options.max_wait_seconds
            )
        return found

    def _turns(self, model: str) -> int:
        """Return this worker's share of the requests that may be at the model's engines at once."""
        return math.ceil(self.options.max_running * self._replicas.get(model, 0) / self.options.workers)
