"""Open-loop load through the load balancer: half of the requests over gRPC, half as server-sent events."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import aiohttp

from tritonfleet.client import FleetClient, GenerateRequest
from tritonfleet.errors import FleetError


@dataclass(frozen=True)
class Phase:
    """A time with a steady rate."""

    seconds: float
    rate: float
    """Requests a second."""


@dataclass(frozen=True)
class Sample:
    """One request; times in seconds."""

    sent_at: float
    """Since the start of the proof."""
    door: str
    ttft_seconds: float | None
    latency_seconds: float
    error: str | None = None


def arrivals(phases: Sequence[Phase], seed: int) -> list[float]:
    """Return the times of a Poisson process whose rate follows *phases*."""
    chance, found, start = random.Random(seed), [], 0.0
    for phase in phases:
        at = start + chance.expovariate(phase.rate)
        while at < start + phase.seconds:
            found.append(at)
            at += chance.expovariate(phase.rate)
        start += phase.seconds
    return found


@dataclass
class Load:
    """Sends requests to the two ports of the load balancer."""

    model: str
    http_port: int
    grpc_port: int
    max_tokens: int
    session: aiohttp.ClientSession
    client: FleetClient
    now: Callable[[], float]

    async def send(self, number: int) -> Sample:
        """Send one request and return what came of it."""
        sent_at, began = self.now(), time.perf_counter()
        door = ("kserve-grpc", "openai-sse")[number % 2]
        ask = (self._ask_grpc, self._ask_openai)[number % 2]
        try:
            ttft = await ask(f"Request {number}: tell me about lighthouses.", began)
        except (FleetError, aiohttp.ClientError, OSError, ValueError) as err:
            return Sample(sent_at, door, None, time.perf_counter() - began, f"{type(err).__name__}: {err}")
        error = None if ttft is not None else "the answer was empty"
        return Sample(sent_at, door, ttft, time.perf_counter() - began, error)

    async def run(self, times: Sequence[float], start: float) -> list[Sample]:
        """Send a request at each of *times*, counted from *start*, and wait for all answers."""

        async def at(number: int, when: float) -> Sample:
            await asyncio.sleep(max(0.0, start + when - self.now()))
            return await self.send(number)

        return list(await asyncio.gather(*(at(number, when) for number, when in enumerate(times))))

    async def _ask_grpc(self, prompt: str, began: float) -> float | None:
        sampling = {"max_tokens": self.max_tokens, "ignore_eos": True}
        first = None
        async for chunk in self.client.stream(GenerateRequest(self.model, prompt, sampling, stream=True)):
            if first is None and any(chunk.texts):
                first = time.perf_counter() - began
        return first

    async def _ask_openai(self, prompt: str, began: float) -> float | None:
        body = {
            "model": self.model,
            "prompt": prompt,
            "max_tokens": self.max_tokens,
            "ignore_eos": True,
            "stream": True,
        }
        first, finished = None, False
        url = f"http://127.0.0.1:{self.http_port}/v1/completions"
        async with self.session.post(url, json=body) as response:
            if response.status != 200:
                raise ValueError(f"{response.status} {(await response.text())[:300]}")
            async for line in response.content:
                data = line.removeprefix(b"data: ").strip()
                if data == b"[DONE]":
                    finished = True
                elif data:
                    event = json.loads(data)
                    if "error" in event:
                        raise ValueError(str(event["error"]))
                    if first is None and event["choices"] and event["choices"][0]["text"]:
                        first = time.perf_counter() - began
        if not finished:
            raise ValueError("the stream ended before [DONE]")
        return first
