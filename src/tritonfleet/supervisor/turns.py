"""Engines on the same GPU start one after the other.

A starting vLLM measures what is free on the whole device before and after its largest batch, and takes what another
engine allocates meanwhile for its own: its KV cache gets too small, or it does not start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence


class StartTurns:
    """Who may start now, by GPU; engines on other GPUs, and on the CPU, never wait."""

    def __init__(self) -> None:
        self._starting: dict[str, frozenset[int]] = {}
        self._left = asyncio.Event()

    async def take(self, engine: str, gpus: Sequence[int]) -> None:
        """Wait until no other engine is starting on these GPUs; ``give_back`` ends the turn."""
        wanted = frozenset(gpus)
        while any(name != engine and wanted & theirs for name, theirs in self._starting.items()):
            self._left.clear()
            await self._left.wait()
        self._starting[engine] = wanted

    def give_back(self, engine: str) -> None:
        """The engine serves, or its start has failed."""
        if self._starting.pop(engine, None) is not None:
            self._left.set()
