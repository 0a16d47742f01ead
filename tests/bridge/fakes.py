"""What the tests put in Triton's place: a response sender, a log and metrics that record."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from tritonfleet.bridge.delivery import Outbox
from tritonfleet.bridge.failure import BridgeError
from tritonfleet.bridge.flight import Flight, Lane
from tritonfleet.bridge.generation import Embedding, Generation
from tritonfleet.bridge.lease import DeviceTurns
from tritonfleet.bridge.logprobs import TokenTexts
from tritonfleet.bridge.meter import Meter
from tritonfleet.bridge.metrics import Definition, Series, engine_definitions
from tritonfleet.bridge.pace import Pace
from tritonfleet.bridge.replicas import Replicas
from tritonfleet.bridge.respond import Tensors
from tritonfleet.bridge.settings import Settings
from tritonfleet.bridge.trace import SpanSender
from tritonfleet.wire import Endpoint, Route


class RecordingResponder:
    """Keeps what would have gone to Triton; *gate*, where given, holds every send back until it is set."""

    def __init__(self, gate: threading.Event | None = None) -> None:
        self.sent: list[tuple[dict[str, Any], bool]] = []
        self.error: BridgeError | None = None
        self.cancelled = False
        self.refuse = False
        self.done = threading.Event()
        self._gate = gate

    def send(self, tensors: Tensors, *, final: bool) -> None:
        """Record one response."""
        if self._gate is not None:
            assert self._gate.wait(10)
        if self.refuse:
            raise BridgeError("no shared memory left")
        self._check()
        self.sent.append(({name: array.tolist() for name, array in tensors}, final))
        if final:
            self.done.set()

    def fail(self, error: BridgeError) -> None:
        """Record the error."""
        self._check()
        self.error = error
        self.done.set()

    def is_cancelled(self) -> bool:
        """Answer what the test says; Triton would crash after the final response."""
        self._check()
        return self.cancelled

    @property
    def text(self) -> str:
        """All text that was sent."""
        return b"".join(outputs["text_output"][0] for outputs, _ in self.sent).decode()

    def _check(self) -> None:
        assert not self.done.is_set(), "Triton's sender was used after the final response"


class RecordingLog:
    """Keeps lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, message: str) -> None:
        """Keep a line."""
        self.lines.append(message)

    def problem(self, message: str) -> None:
        """Keep a line."""
        self.lines.append(message)


class RecordingSeries:
    """Keeps what was told to one series."""

    def __init__(self) -> None:
        self.total = 0.0
        self.observed: list[float] = []
        self.threads: set[int] = set()

    def increment(self, value: float) -> None:
        """Add."""
        self.threads.add(threading.get_ident())
        self.total += value

    def set(self, value: float) -> None:
        """Set."""
        self.threads.add(threading.get_ident())
        self.total = value

    def observe(self, value: float) -> None:
        """Keep an observation."""
        self.threads.add(threading.get_ident())
        self.observed.append(value)


class RecordingMetrics:
    """Makes series."""

    def __init__(self) -> None:
        self.series: dict[tuple[str, str], RecordingSeries] = {}

    def register(self, definition: Definition, labels: Mapping[str, str]) -> Series:
        """Make a series."""
        return self.series.setdefault((definition.name, labels.get("outcome", "")), RecordingSeries())


@asynccontextmanager
async def serving(*, socket: Path, handler: Handler) -> AsyncIterator[None]:
    """Serve every path by *handler* on a Unix socket."""
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", handler)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.UnixSite(runner, str(socket)).start()
    try:
        yield
    finally:
        await runner.cleanup()


class Field:
    """Everything that a flight needs, with engines that the test serves."""

    def __init__(
        self,
        *sockets: Path,
        senders: int = 1,
        metrics: bool = False,
        paced: bool = False,
        spans: SpanSender | None = None,
        **settings: Any,
    ) -> None:
        self.log = RecordingLog()
        self.metrics = RecordingMetrics()
        self.sick = threading.Event()
        self.reason = "the supervisor says that it is restarting"
        self.route = Route("m", "fake", "m", tuple(Endpoint(uds=str(socket)) for socket in sockets))
        self.replicas = Replicas(self.route, self._reason)
        self._flights: dict[Flight, asyncio.Event] = {}
        self._loop = asyncio.get_running_loop()
        self.lane = Lane(
            loop=self._loop,
            settings=Settings("m", "1", report_engine_metrics=metrics, **settings),
            route=self.route,
            replicas=self.replicas,
            outbox=Outbox(senders),
            texts=TokenTexts(self.replicas.detokenize),
            meter=Meter(self.metrics.register, lambda: len(self._flights), engine_definitions(4096) if metrics else ()),
            log=self.log,
            spans=spans,
            pace=Pace(cores=1),
            paced=paced,
            in_flight=lambda: len(self._flights),
            sick=self.sick.set,
            devices=DeviceTurns(self.route, ""),
        )

    async def _reason(self) -> str:
        return self.reason

    def launch(self, request: Generation | Embedding, responder: RecordingResponder) -> Flight:
        """Start a flight."""
        flight = Flight(request, responder, self.lane, landed=self._on_landed)
        self._flights[flight] = asyncio.Event()
        flight.start()
        return flight

    async def fly(self, request: Generation | Embedding) -> RecordingResponder:
        """Fly to the end."""
        responder = RecordingResponder()
        await self.landing(self.launch(request, responder))
        return responder

    async def landing(self, flight: Flight) -> None:
        """Wait for the flight's end."""
        if (landed := self._flights.get(flight)) is not None:
            async with asyncio.timeout(10):
                await landed.wait()

    def _on_landed(self, flight: Flight) -> None:
        self._loop.call_soon_threadsafe(self._flights.pop(flight).set)

    async def close(self) -> None:
        """End everything."""
        self.lane.outbox.close()
        self.lane.meter.close()
        await self.replicas.close()


@asynccontextmanager
async def field(*sockets: Path, **options: Any) -> AsyncIterator[Field]:
    """Yield a Field and close it."""
    built = Field(*sockets, **options)
    try:
        yield built
    finally:
        await built.close()


async def eventually(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait until *condition* holds; fail after *seconds*."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - other processes set no events
            await asyncio.sleep(0.005)
