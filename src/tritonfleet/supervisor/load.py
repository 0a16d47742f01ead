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
        names = self._adapter.metric_names
        values = await self._engine.http.gauges(self._adapter.metrics, names.values(), READ_TIMEOUT_SECONDS)
        found = {meaning: values[name] for meaning, name in names.items() if name in values}
        return Load(found.get("running"), found.get("waiting"), self._rate(found.get("generated_tokens")))

    def _rate(self, tokens: float | None) -> float | None:
        if tokens is None:
            return None
        now = time.monotonic()
        before, self._before = self._before, (now, tokens)
        if before is None or now <= before[0]:
            return None
        return max(0.0, tokens - before[1]) / (now - before[0])
