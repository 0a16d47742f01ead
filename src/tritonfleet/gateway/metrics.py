"""The gateway's own metrics, from the table; safe with several workers.

With several workers prometheus_client keeps the numbers in files (PROMETHEUS_MULTIPROC_DIR, set by the parent of the
workers before they start), and whichever worker is asked adds them up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from threading import Lock
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess

from tritonfleet.metrics.merge import Changes, Page, Reader
from tritonfleet.metrics.table import METRICS, Metric

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

_EXPOSED: Mapping[Name, str] = {
    "requests": "requests_total",
    "in_flight": "requests_in_flight",
    "waiting": "requests_waiting",
    "wait_seconds": "wait_seconds",
    "ttft_seconds": "time_to_first_token_seconds",
    "request_seconds": "request_seconds",
    "retries": "retries_total",
    "refused": "refused_total",
    "client_gone": "client_gone_total",
    "key_requests": "key_requests_total",
    "key_tokens": "key_tokens_total",
}
TABLE: Mapping[Name, Metric] = {name: METRICS[PREFIX + exposed] for name, exposed in _EXPOSED.items()}


class Metrics:
    """The metrics of one worker."""

    def __init__(self, fleet: str = "") -> None:
        self._registry = CollectorRegistry()
        self._changes = Changes({"fleet": fleet})
        self._reader = Reader(self._changes)
        self._reading = Lock()
        self.counters: dict[Name, Counter] = {}
        self.gauges: dict[Name, Gauge] = {}
        self.histograms: dict[Name, Histogram] = {}
        for name, metric in TABLE.items():
            # What every series of the page, or of a model, is given when it is read.
            labels = [label for label in metric.labels if label not in ("fleet", "pool")]
            match metric.kind:
                case "counter":
                    self.counters[name] = Counter(metric.name, metric.help, labels, registry=self._registry)
                case "gauge":
                    self.gauges[name] = Gauge(
                        metric.name, metric.help, labels, registry=self._registry, multiprocess_mode="livesum"
                    )
                case "histogram":
                    self.histograms[name] = Histogram(
                        metric.name, metric.help, labels, registry=self._registry, buckets=_SECONDS
                    )

    def expect(self, model: str) -> None:
        """Show *model*'s series from now on, at zero: nothing was counted so far, which is known."""
        for name, metric in TABLE.items():
            if metric.labels == ("fleet", "model", "pool"):
                self._family(name).labels(model)

    def know_pools(self, pools: Mapping[str, str]) -> None:
        """Show every model's series with its pool from now on."""
        changes = replace(self._changes, pools=pools)
        if changes != self._changes:
            with self._reading:
                self._changes, self._reader = changes, Reader(changes)

    def count(self, name: Name, *labels: str, amount: float = 1) -> None:
        """Add to a counter."""
        self.counters[name].labels(*labels).inc(amount)

    def observe(self, name: Name, seconds: float, *labels: str) -> None:
        """Put a time into a histogram."""
        self.histograms[name].labels(*labels).observe(seconds)

    def set(self, name: Name, value: float, *labels: str) -> None:
        """Set a gauge."""
        self.gauges[name].labels(*labels).set(value)

    def _family(self, name: Name) -> Counter | Gauge | Histogram:
        return self.counters.get(name) or self.gauges.get(name) or self.histograms[name]

    def exposition(self, folder: str | None) -> str:
        """Return the gateway's families, in any thread; *folder* is where several workers keep their numbers."""
        registry = self._registry
        if folder is not None:
            registry = CollectorRegistry()
            multiprocess.MultiProcessCollector(registry, path=folder)  # type: ignore[no-untyped-call]
        text = generate_latest(registry).decode()
        page = Page()
        with self._reading:
            page.add(self._reader.read(text))
        return page.text()
