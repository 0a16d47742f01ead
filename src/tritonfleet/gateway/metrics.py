"""The gateway's own metrics, each in one table with its labels and unit; safe with several workers.

With several workers prometheus_client keeps the numbers in files (PROMETHEUS_MULTIPROC_DIR, set by the parent of the
workers before they start), and whichever worker is asked adds them up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)

PREFIX = "tritonfleet_gateway_"

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)

Name = Literal[
    "requests",
    "in_flight",
    "waiting",
    "wait_seconds",
    "ttft_seconds",
    "request_seconds",
    "retries",
    "refused",
    "client_gone",
    "key_requests",
    "key_tokens",
]


@dataclass(frozen=True)
class Metric:
    """One metric: what is exposed, and what it means."""

    exposed: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    help: str
    """What is counted, with its unit."""


TABLE: Mapping[Name, Metric] = {
    "requests": Metric(
        "requests_total",
        "counter",
        ("model", "path", "status", "src"),
        "Requests that were answered; src says who made the answer.",
    ),
    "in_flight": Metric("requests_in_flight", "gauge", ("model",), "Requests that an engine works on now."),
    "waiting": Metric("requests_waiting", "gauge", ("model",), "Requests that wait in the gateway for their turn."),
    "wait_seconds": Metric("wait_seconds", "histogram", ("model",), "Time in the gateway's line, in seconds."),
    "ttft_seconds": Metric(
        "time_to_first_token_seconds",
        "histogram",
        ("model",),
        "Time from a streamed request's headers to the first bytes of its answer, in seconds.",
    ),
    "request_seconds": Metric(
        "request_seconds",
        "histogram",
        ("model",),
        "Time from a request's headers to the end of its answer, in seconds.",
    ),
    "retries": Metric("retries_total", "counter", ("model",), "Requests that were sent again to another replica."),
    "refused": Metric(
        "refused_total", "counter", ("code",), "Requests that the gateway itself refused, by error code."
    ),
    "client_gone": Metric(
        "client_gone_total", "counter", ("model",), "Requests whose client went away before the end of the answer."
    ),
    "key_requests": Metric("key_requests_total", "counter", ("key",), "Requests by API key (its id)."),
    "key_tokens": Metric(
        "key_tokens_total", "counter", ("key",), "Tokens, prompt and answer, of API keys with a token limit."
    ),
}


class Metrics:
    """The metrics of one worker."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.counters: dict[Name, Counter] = {}
        self.gauges: dict[Name, Gauge] = {}
        self.histograms: dict[Name, Histogram] = {}
        for name, metric in TABLE.items():
            exposed = PREFIX + metric.exposed
            match metric.kind:
                case "counter":
                    self.counters[name] = Counter(exposed, metric.help, metric.labels, registry=self._registry)
                case "gauge":
                    self.gauges[name] = Gauge(
                        exposed, metric.help, metric.labels, registry=self._registry, multiprocess_mode="livesum"
                    )
                case "histogram":
                    self.histograms[name] = Histogram(
                        exposed, metric.help, metric.labels, registry=self._registry, buckets=_SECONDS
                    )

    def count(self, name: Name, *labels: str, amount: float = 1) -> None:
        """Add to a counter."""
        self.counters[name].labels(*labels).inc(amount)

    def observe(self, name: Name, seconds: float, *labels: str) -> None:
        """Put a time into a histogram."""
        self.histograms[name].labels(*labels).observe(seconds)

    def set(self, name: Name, value: float, *labels: str) -> None:
        """Set a gauge."""
        self.gauges[name].labels(*labels).set(value)

    def exposition(self, folder: str | None) -> tuple[bytes, str]:
        """Return the text of /metrics and its content type; *folder* is where several workers keep their numbers."""
        registry = self._registry
        if folder is not None:
            registry = CollectorRegistry()
            multiprocess.MultiProcessCollector(registry, path=folder)  # type: ignore[no-untyped-call]
        return generate_latest(registry), CONTENT_TYPE_LATEST
