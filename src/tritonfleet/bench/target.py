"""Something to measure: a door, the model behind it, and one request turned into a sample."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

from tritonfleet.bench.stats import Sample
from tritonfleet.client.generation import Recorder
from tritonfleet.client.messages import Chunk, GenerateRequest, ModelInfo
from tritonfleet.errors import RequestRefused


class StreamDoor(Protocol):
    """What is needed of a door: the client's doors and the engine's have it."""

    def stream(
        self, request: GenerateRequest, info: ModelInfo, timeout_seconds: float | None
    ) -> AsyncGenerator[Chunk, None]:
        """Yield the responses to *request*."""
        ...

    async def close(self) -> None:
        """Close the connection."""


@dataclass(frozen=True)
class Target:
    """A model at a door."""

    name: str
    """Name of the door in results, for example ``engine`` or ``triton-grpc``."""
    door: StreamDoor
    info: ModelInfo
    """Name of the model at this door, and its inputs."""

    async def sample(
        self,
        prompt: str,
        sampling: Mapping[str, Any],
        *,
        timeout_seconds: float | None = None,
        keep_gaps: bool = False,
    ) -> Sample:
        """Send one streamed request and return its times; raise RequestFailed if it fails or counts no tokens."""
        request = GenerateRequest(self.info.name, prompt, sampling, stream=True)
        clock = time.perf_counter
        recorder = Recorder(clock(), streaming=True)
        last = recorder.sent
        arrivals: list[float] = []
        async with aclosing(self.door.stream(request, self.info, timeout_seconds)) as chunks:
            async for chunk in chunks:
                at = clock()
                recorder.add(chunk, at)
                # A chunk without text only counts; it is not a token that the user waits for.
                if chunk.texts:
                    last = at
                    if keep_gaps:
                        arrivals.append(at)
        found = recorder.finish(last)
        if found.output_tokens is None or found.timing.ttft_seconds is None:
            raise RequestRefused(f"model {self.info.name!r} at {self.name} does not count its tokens")
        gaps = tuple(after - before for before, after in pairwise(arrivals))
        return Sample(found.timing.ttft_seconds, found.timing.latency_seconds, found.output_tokens, gaps)
