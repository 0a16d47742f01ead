"""The engines' own counts of requests and tokens, read every few seconds for status, table and metrics."""

from __future__ import annotations

import time
from dataclasses import dataclass

from tritonfleet.engines.base import EngineAdapter
from tritonfleet.supervisor.engine import Engine

#: How often the counts are read.
LOAD_SECONDS = 2.0
READ_TIMEOUT_SECONDS = 1.0


@dataclass(frozen=True)
class Load:
    """The load of one engine; None where the engine does not tell."""

    running: float | None = None
    waiting: float | None = None
    tokens_per_second: float | None = None
    """Since the last look."""
    generated_tokens: float | None = None
    """Tokens since the engine's start."""
    first_tokens: float | None = None
    """Requests since the engine's start that got their first token."""
    ttft_sum_seconds: float | None = None
    """Sum of their times to first token."""


class LoadMeter:
    """Reads the load of one engine and turns the token counter into a rate."""

    def __init__(self, engine: Engine, adapter: EngineAdapter) -> None:
        self._engine = engine
        self._adapter = adapter
        self._before: tuple[float, float] | None = None

    async def read(self) -> Load:
        """Ask the engine; one that is not ready, or does not answer, has no load."""
        if not self._engine.ready:
            self._before = None
            return Load()
        names: dict[str, str] = {meaning: name for meaning, name in self._adapter.metric_names.items()}  # noqa: C416
        if (ttft := names.get("ttft_seconds")) is not None:
            names |= {"first_tokens": f"{ttft}_count", "ttft_sum": f"{ttft}_sum"}
        values = await self._engine.http.gauges(self._adapter.metrics, names.values(), READ_TIMEOUT_SECONDS)
        found = {meaning: values[name] for meaning, name in names.items() if name in values}
        return Load(
            running=found.get("running"),
            waiting=found.get("waiting"),
            tokens_per_second=self._rate(found.get("generated_tokens")),
            generated_tokens=found.get("generated_tokens"),
            first_tokens=found.get("first_tokens"),
            ttft_sum_seconds=found.get("ttft_sum"),
        )

    def _rate(self, tokens: float | None) -> float | None:
        if tokens is None:
            return None
        now = time.monotonic()
        before, self._before = self._before, (now, tokens)
        if before is None or now <= before[0]:
            return None
        return max(0.0, tokens - before[1]) / (now - before[0])
