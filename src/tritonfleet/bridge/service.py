"""The bridge of one model instance: an event loop in a thread of its own, and the requests in flight."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from tritonfleet.bridge.control import ControlSocket
from tritonfleet.bridge.delivery import Outbox, Responder
from tritonfleet.bridge.failure import BridgeError
from tritonfleet.bridge.flight import Flight, Lane, Log
from tritonfleet.bridge.generation import Raw, parse
from tritonfleet.bridge.lease import DeviceTurns
from tritonfleet.bridge.logprobs import TokenTexts
from tritonfleet.bridge.meter import Ended, Meter, Timing
from tritonfleet.bridge.metrics import Register, engine_definitions
from tritonfleet.bridge.pace import Pace, takes_interval
from tritonfleet.bridge.replicas import Replicas
from tritonfleet.bridge.settings import Settings
from tritonfleet.bridge.trace import SpanSender, TraceSettings
from tritonfleet.bridge.watch import CancelWatch
from tritonfleet.wire import Route

T = TypeVar("T")

_new_event_loop: Callable[[], asyncio.AbstractEventLoop]
try:
    from uvloop import new_event_loop as _new_event_loop
except ImportError:  # only a matter of speed
    from asyncio import new_event_loop as _new_event_loop

#: Threads that send responses: on two cores more of them only compete, and none would stall the event loop at sends.
SENDERS = 1
#: Used for the buckets of metrics where nobody tells the model's limit (tokens).
_DEFAULT_MAX_MODEL_LEN = 4096


class Bridge:
    """Takes requests from Triton's thread, in which nothing here waits once it is open."""

    def __init__(self, settings: Settings, log: Log, traces: TraceSettings | None = None) -> None:
        self._settings = settings
        self._log = log
        self._spans = (
            None if traces is None else SpanSender(traces, settings.model, lambda why: log.problem(f"[vllm] {why}"))
        )
        self._flights: set[Flight] = set()
        self._landed = threading.Condition()
        self._loop = _new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="bridge", daemon=True)
        self._thread.start()
        self._control: ControlSocket | None = None
        self._lane: Lane | None = None
        self._watch: CancelWatch | None = None

    def open(self, control: str, model_dir: Path, register: Register, sick: Callable[[], None]) -> None:
        """Wait until the supervisor says that an engine serves; raise BridgeError with its reason if none will."""
        settings = self._settings
        socket = ControlSocket(control)
        route = self._wait(socket.acquire(settings.model, settings.version, model_dir))
        self._control = socket
        replicas = self._wait(self._replicas(route, socket))
        definitions = (
            engine_definitions(route.max_model_len or self._wait(replicas.max_model_len()) or _DEFAULT_MAX_MODEL_LEN)
            if settings.report_engine_metrics
            else ()
        )
        self._lane = Lane(
            loop=self._loop,
            settings=settings,
            route=route,
            replicas=replicas,
            outbox=Outbox(SENDERS),
            texts=TokenTexts(replicas.detokenize),
            meter=Meter(register, lambda: len(self._flights), definitions, lambda why: self._log.info(f"[vllm] {why}")),
            log=self._log,
            spans=self._spans,
            pace=Pace(len(os.sched_getaffinity(0))),
            paced=takes_interval(route.engine, self._wait(_version(route, replicas))),
            in_flight=lambda: len(self._flights),
            sick=sick,
            devices=DeviceTurns(route, control),
        )
        self._watch = CancelWatch(lambda: tuple(self._flights))

    def submit(self, raw: Raw, responder: Responder) -> None:
        """Answer *raw* through *responder*; a request that is wrong is answered at once."""
        lane, watch = self._lane, self._watch
        assert lane is not None
        assert watch is not None
        try:
            request = parse(raw, lane.route)
        except BridgeError as err:
            responder.fail(err)
            lane.meter.finished(Ended("refused", Timing(0.0), 0.0, 0, 0, 0, 1))
            return
        flight = Flight(request, responder, lane, landed=self._on_landed)
        self._flights.add(flight)
        self._loop.call_soon_threadsafe(flight.start)
        watch.wake()
        lane.meter.poke()

    def close(self) -> None:
        """Wait for the requests in flight, give the engines back and end all threads."""
        with self._landed:
            self._landed.wait_for(lambda: not self._flights)
        if self._watch is not None:
            self._watch.close()
        if self._lane is not None:
            self._lane.outbox.close()
            self._lane.meter.close()
            self._wait(self._lane.replicas.close())
            if self._spans is not None:
                self._wait(self._spans.close())
            self._wait(self._lane.devices.close())
        if self._control is not None:
            try:
                self._wait(self._control.release(self._settings.model, self._settings.version))
            except BridgeError as err:
                self._log.info(f"[vllm] {self._settings.model}: {err}")
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _on_landed(self, flight: Flight) -> None:
        with self._landed:
            self._flights.discard(flight)
            self._landed.notify_all()
        if self._lane is not None:
            self._lane.meter.poke()

    def _wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    async def _replicas(self, route: Any, socket: ControlSocket) -> Replicas:
        return Replicas(route, lambda: socket.reason(self._settings.model))


async def _version(route: Route, replicas: Replicas) -> str:
    """Return the engine's version; an engine that sleeps by stopping may not be there to be asked."""
    return route.engine_version if route.lease == "all" else await replicas.version()
