"""Spans of the gateway by OpenTelemetry's SDK; imported only where traces are on. Nothing of it leaves this module."""

from __future__ import annotations

from collections.abc import Mapping

from tritonfleet.errors import UsageError
from tritonfleet.tracing.settings import GATEWAY_SERVICE, NOT_INSTALLED

try:
    from opentelemetry.context import Context
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
    from opentelemetry.trace import Span, SpanKind, Status, StatusCode
    from opentelemetry.trace.propagation import set_span_in_context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError as err:
    raise UsageError(NOT_INSTALLED) from err

#: Seconds after which the spans so far are sent; the SDK's default is five.
SEND_SECONDS = 1.0
#: A collector that does not answer must not hold up the end of the gateway.
END_SECONDS = 3


class RequestSpan:
    """One request at the door."""

    def __init__(self, span: Span) -> None:
        self._span = span
        carrier: dict[str, str] = {}
        _propagator.inject(carrier, set_span_in_context(span))
        self.headers: Mapping[str, str] = carrier
        """``traceparent``, and ``tracestate`` where the client sent one, for the engine."""

    def note(self, name: str, value: str | int | float) -> None:
        """Set an attribute."""
        self._span.set_attribute(name, value)

    def event(self, name: str) -> None:
        """Note that something happened now."""
        self._span.add_event(name)

    def end(self, problem: str = "") -> None:
        """End the span, as an error where there is a *problem*."""
        if problem:
            self._span.set_status(Status(StatusCode.ERROR, problem))
        self._span.end()


class DoorTracer:
    """Makes the spans of one gateway worker."""

    def __init__(self, url: str, sample_ratio: float, fleet: str) -> None:
        resource = Resource.create({"service.name": GATEWAY_SERVICE, "tritonfleet.fleet": fleet})
        # A client's decision holds; only traces that begin here are drawn.
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(sample_ratio)), resource=resource, shutdown_on_exit=False
        )
        exporter = OTLPSpanExporter(endpoint=url, timeout=END_SECONDS)
        self._provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=SEND_SECONDS * 1000))
        self._tracer = self._provider.get_tracer("tritonfleet.gateway")

    def begin(self, name: str, headers: Mapping[str, str], attributes: Mapping[str, str]) -> RequestSpan:
        """Begin a span below the client's, whose *headers* (lower-case names) may hold ``traceparent``."""
        parent = _propagator.extract(headers, context=Context())
        return RequestSpan(self._tracer.start_span(name, parent, kind=SpanKind.SERVER, attributes=dict(attributes)))

    def close(self) -> None:
        """Send what is left; blocks for some seconds where the collector does not answer."""
        self._provider.shutdown()


_propagator = TraceContextTextMapPropagator()
