"""The fake engine's /metrics: vLLM's names, in Prometheus' text format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

#: vLLM's own bounds for these histograms are longer; a test needs the shape, not the resolution.
_BOUNDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)


@dataclass
class Histogram:
    """Observations in seconds."""

    counts: list[int] = field(default_factory=lambda: [0] * len(_BOUNDS))
    total: int = 0
    sum: float = 0.0

    def observe(self, seconds: float) -> None:
        """Count one observation."""
        self.total += 1
        self.sum += seconds
        for number, bound in enumerate(_BOUNDS):
            if seconds <= bound:
                self.counts[number] += 1


@dataclass
class Metrics:
    """Everything that was counted since the start."""

    model: str
    prompt_tokens: int = 0
    generation_tokens: int = 0
    prefix_queries: int = 0
    finished: Counter[str] = field(default_factory=Counter)
    """Finished requests by reason: stop, length, abort."""
    ttft: Histogram = field(default_factory=Histogram)
    inter_token: Histogram = field(default_factory=Histogram)
    request: Histogram = field(default_factory=Histogram)

    def exposition(self, *, running: int, waiting: int, max_running: int) -> str:
        """Return the text of /metrics; *running* and *waiting* are requests now."""
        gauges = {
            "num_requests_running": float(running),
            "num_requests_waiting": float(waiting),
            "kv_cache_usage_perc": running / max_running,
        }
        counters = {
            "prompt_tokens": self.prompt_tokens,
            "generation_tokens": self.generation_tokens,
            "prefix_cache_queries": self.prefix_queries,
            "prefix_cache_hits": 0,
        }
        histograms = {
            "time_to_first_token_seconds": self.ttft,
            "inter_token_latency_seconds": self.inter_token,
            "e2e_request_latency_seconds": self.request,
        }
        lines: list[str] = []
        for name, value in gauges.items():
            lines += [f"# TYPE vllm:{name} gauge", self._sample(name, value)]
        for name, number in counters.items():
            lines += [f"# TYPE vllm:{name}_total counter", self._sample(f"{name}_total", number)]
        lines.append("# TYPE vllm:request_success_total counter")
        for reason in ("stop", "length", "abort"):
            lines.append(self._sample("request_success_total", self.finished[reason], f'finished_reason="{reason}"'))
        for name, histogram in histograms.items():
            lines.append(f"# TYPE vllm:{name} histogram")
            lines += self._histogram(name, histogram)
        return "\n".join(lines) + "\n"

    def _histogram(self, name: str, histogram: Histogram) -> Iterator[str]:
        for bound, number in zip(_BOUNDS, histogram.counts, strict=True):
            yield self._sample(f"{name}_bucket", number, f'le="{bound}"')
        yield self._sample(f"{name}_bucket", histogram.total, 'le="+Inf"')
        yield self._sample(f"{name}_sum", histogram.sum)
        yield self._sample(f"{name}_count", histogram.total)

    def _sample(self, name: str, value: float, label: str = "") -> str:
        escaped = self.model.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        labels = f'engine="0",{label}{"," if label else ""}model_name="{escaped}"'
        return f"vllm:{name}{{{labels}}} {value}"
