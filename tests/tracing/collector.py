"""An OTLP collector in the test's own process: takes spans as protobuf and as JSON, and keeps them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class SeenSpan:
    """A span that was sent."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    attributes: dict[str, Any]
    events: tuple[str, ...]
    error: str | None
    """The message of an error status; None for a span without one."""
    seconds: float
    resource: dict[str, Any] = field(default_factory=dict)


class Collector:
    """The spans so far."""

    def __init__(self) -> None:
        self.spans: list[SeenSpan] = []
        self.url = ""
        self._new = threading.Condition()

    def take(self, request: ExportTraceServiceRequest) -> None:
        """Keep what an export holds."""
        with self._new:
            for part in request.resource_spans:
                resource = _values(part.resource.attributes)
                self.spans += [_seen(span, resource) for scope in part.scope_spans for span in scope.spans]
            self._new.notify_all()

    def wait(self, check: Callable[[list[SeenSpan]], bool], seconds: float = 20) -> list[SeenSpan]:
        """Block until the spans are as they should be; return them."""
        deadline = time.monotonic() + seconds
        with self._new:
            while not check(self.spans):
                assert self._new.wait(deadline - time.monotonic()), [(span.service, span.name) for span in self.spans]
            return list(self.spans)

    async def until(self, check: Callable[[list[SeenSpan]], bool], seconds: float = 20) -> list[SeenSpan]:
        """Wait until the spans are as they should be, without holding up the event loop."""
        return await asyncio.to_thread(self.wait, check, seconds)


@contextmanager
def collecting() -> Iterator[Collector]:
    """Serve a collector on a free port; its address is in ``url``."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            request = ExportTraceServiceRequest()
            if self.headers["Content-Type"].startswith("application/json"):
                json_format.Parse(_hex_to_base64(body.decode()), request, ignore_unknown_fields=True)
            else:
                request.ParseFromString(body)
            known = self.path == "/v1/traces"
            if known:
                collector.take(request)
            self.send_response(200 if known else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _hex_to_base64(text: str) -> str:
    """OTLP's JSON has ids in hexadecimal, which protobuf's own JSON has in base64."""
    import base64
    import json

    def changed(value: Any) -> Any:
        if isinstance(value, list):
            return [changed(entry) for entry in value]
        if not isinstance(value, dict):
            return value
        return {
            key: base64.b64encode(bytes.fromhex(entry)).decode() if key in _IDS else changed(entry)
            for key, entry in value.items()
        }

    return json.dumps(changed(json.loads(text)))


_IDS = frozenset({"traceId", "spanId", "parentSpanId"})


def _values(attributes: Any) -> dict[str, Any]:
    return {entry.key: getattr(entry.value, entry.value.WhichOneof("value")) for entry in attributes}


def _seen(span: Any, resource: dict[str, Any]) -> SeenSpan:
    return SeenSpan(
        service=resource.get("service.name", ""),
        name=span.name,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        attributes=_values(span.attributes),
        events=tuple(event.name for event in span.events),
        error=span.status.message if span.status.code == 2 else None,
        seconds=(span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
        resource=resource,
    )
