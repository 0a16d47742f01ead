"""The door's span around each request for an engine: an ASGI layer that is there only where traces are on."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Where the relay leaves the model's name in the request's state.
MODEL = "model"
_CONTEXT = frozenset({b"traceparent", b"tracestate"})


class Span(Protocol):
    """One request."""

    headers: Mapping[str, str]

    def note(self, name: str, value: str | int | float) -> None:
        """Set an attribute."""
        ...

    def event(self, name: str) -> None:
        """Note that something happened now."""
        ...

    def end(self, problem: str = "") -> None:
        """End the span."""
        ...


class Tracer(Protocol):
    """Makes spans."""

    def begin(self, name: str, headers: Mapping[str, str], attributes: Mapping[str, str]) -> Span:
        """Begin a span below the client's."""
        ...

    def close(self) -> None:
        """Send what is left; may block."""
        ...


class TraceGate:
    """Begins a span, hands its context on to the engine in place of the client's, and ends it with the answer."""

    def __init__(self, app: ASGIApp, tracer: Tracer, paths: Collection[str]) -> None:
        self._app = app
        self._tracer = tracer
        self._paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["path"] not in self._paths:
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        span = self._tracer.begin(
            f"{scope['method']} {path}", headers, {"http.request.method": scope["method"], "http.route": path}
        )
        kept = [entry for entry in scope["headers"] if entry[0] not in _CONTEXT]
        scope["headers"] = kept + [(name.encode(), value.encode("latin-1")) for name, value in span.headers.items()]
        answer = _Answer(span, send)
        try:
            await self._app(scope, receive, answer.send)
        finally:
            if model := scope.get("state", {}).get(MODEL):
                span.note("gen_ai.request.model", model)
            answer.end()


class _Answer:
    """What of the answer goes into the span."""

    def __init__(self, span: Span, send: Send) -> None:
        self._span = span
        self._send = send
        self._status = 0
        self._bytes = 0
        self._complete = False

    async def send(self, message: Message) -> None:
        """Pass a message on to the client."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._span.note("http.response.status_code", self._status)
            for name, value in message["headers"]:
                if name == b"x-request-id":
                    self._span.note("tritonfleet.request_id", value.decode("latin-1"))
        elif message["type"] == "http.response.body":
            body = message.get("body", b"")
            if body and not self._bytes:
                self._span.event("first bytes")
            self._bytes += len(body)
            self._complete = not message.get("more_body", False)
        await self._send(message)

    def end(self) -> None:
        """End the span with what became of the answer."""
        self._span.note("http.response.body.size", self._bytes)
        if not self._complete:
            self._span.end("the answer was not completed: the client left, or the engine broke off")
        else:
            self._span.end(f"status {self._status}" if self._status >= 500 else "")
