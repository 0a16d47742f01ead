"""Spans of the bridge, sent as OTLP over HTTP in JSON: the stub's small environment has no OpenTelemetry.

The bridge begins no trace of its own: whether a request is traced was decided before it came here.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import aiohttp

#: Spans that gather for this long travel together (seconds).
SEND_SECONDS = 1.0
#: Spans that wait to be sent; more than these are dropped, because traces must never cost the requests.
MOST_WAITING = 4096
#: Spans of one request to the collector; some 200 kB.
AT_ONCE = 512
POST_SECONDS = 3.0

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SERVER, _ERROR = 2, 2


class Context(NamedTuple):
    """A place in a trace."""

    trace_id: str
    span_id: str
    flags: int

    @property
    def sampled(self) -> bool:
        """Whether spans of the trace are kept."""
        return bool(self.flags & 1)


def read_context(traceparent: str) -> Context | None:
    """Return what a W3C traceparent says; None for one that is not well-formed, which counts as absent."""
    found = _TRACEPARENT.fullmatch(traceparent.strip())
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == "ff" or (version == "00" and more) or not (int(trace_id, 16) and int(span_id, 16)):
        return None
    return Context(trace_id, span_id, int(flags, 16))


@dataclass(frozen=True)
class TraceSettings:
    """Where spans go."""

    url: str
    service: str
    fleet: str

    @classmethod
    def read(cls, text: str | None) -> TraceSettings | None:
        """Read ``TRACING_VARIABLE``; None where it is not set."""
        if not text:
            return None
        told = json.loads(text)
        return cls(told["url"], told["service"], told["fleet"])


@dataclass
class Span:
    """One request in the bridge."""

    parent: Context
    name: str
    started_ns: int = field(default_factory=time.time_ns)
    span_id: str = field(default_factory=lambda: secrets.token_hex(8))
    started: float = field(default_factory=time.monotonic)
    """The same moment on the monotonic clock (seconds), which events are told in."""

    @property
    def traceparent(self) -> str:
        """The context for what comes next."""
        return f"00-{self.parent.trace_id}-{self.span_id}-{self.parent.flags:02x}"

    def at(self, moment: float) -> str:
        """Return a moment of the monotonic clock as OTLP has it: nanoseconds since 1970, as text."""
        return str(self.started_ns + round((moment - self.started) * 1e9))


class SpanSender:
    """Begins spans, and sends those that ended; belongs to one event loop."""

    def __init__(self, settings: TraceSettings, model: str, complain: Callable[[str], None]) -> None:
        self._settings = settings
        self._model = model
        self._complain = complain
        self._waiting: list[dict[str, Any]] = []
        self._sending: asyncio.Task[None] | None = None
        self._complained = False

    def begin(self, traceparent: str) -> Span | None:
        """Begin a span below the given one, in any thread; None where the request is not traced."""
        parent = read_context(traceparent) if traceparent else None
        return Span(parent, f"bridge {self._model}") if parent is not None and parent.sampled else None

    def end(self, span: Span, attributes: Mapping[str, str | int], problem: str, first: float | None) -> None:
        """Have the span sent, ended now; *first* is when the first token came (monotonic seconds).

        Must be called in the event loop.
        """
        if len(self._waiting) >= MOST_WAITING:
            return
        ended: dict[str, Any] = {
            "traceId": span.parent.trace_id,
            "spanId": span.span_id,
            "parentSpanId": span.parent.span_id,
            "name": span.name,
            "kind": _SERVER,
            "startTimeUnixNano": str(span.started_ns),
            "endTimeUnixNano": span.at(time.monotonic()),
            "attributes": _attributes(attributes),
            "events": [] if first is None else [{"name": "first token", "timeUnixNano": span.at(first)}],
            "status": {"code": _ERROR, "message": problem} if problem else {},
        }
        self._waiting.append(ended)
        if self._sending is None:
            self._sending = asyncio.get_running_loop().create_task(self._send_later())

    async def close(self) -> None:
        """Send what is left."""
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.gather(self._sending, return_exceptions=True)
        if self._waiting:
            await self._send()

    async def _send_later(self) -> None:
        await asyncio.sleep(SEND_SECONDS)
        self._sending = None
        await self._send()

    async def _send(self) -> None:
        spans, self._waiting = self._waiting, []
        problem = ""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=POST_SECONDS)) as session:
            while spans and not problem:
                problem = await self._post(session, spans[:AT_ONCE])
                spans = spans[AT_ONCE:]
        if problem and not self._complained:
            self._complain(f"{self._model}: {self._settings.url} takes no spans ({problem}); they are dropped")
        self._complained = bool(problem)

    async def _post(self, session: aiohttp.ClientSession, spans: list[dict[str, Any]]) -> str:
        """Send some spans; return why they were not taken, nothing if they were."""
        resource = {"service.name": self._settings.service, "tritonfleet.fleet": self._settings.fleet}
        scope = {"scope": {"name": "tritonfleet.bridge"}, "spans": spans}
        body = {"resourceSpans": [{"resource": {"attributes": _attributes(resource)}, "scopeSpans": [scope]}]}
        try:
            async with session.post(self._settings.url, json=body) as response:
                return "" if response.status < 300 else f"status {response.status}"
        except (aiohttp.ClientError, OSError, TimeoutError) as err:
            return str(err) or type(err).__name__


def _attributes(values: Mapping[str, str | int]) -> list[dict[str, Any]]:
    """Return attributes as OTLP's JSON has them: whole numbers are text."""
    return [
        {"key": key, "value": {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}}
        for key, value in values.items()
    ]
