"""Open-loop load through the load balancer: half of the requests over gRPC, half as server-sent events."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp

from autoscaling.pods import Pod
from tritonfleet.client import FleetClient, GenerateRequest
from tritonfleet.errors import FleetError


@dataclass(frozen=True)
class Phase:
    """A time with a steady rate."""

    rate: float
    """Requests a second."""
    over: Callable[[], bool]
    """Whether it has ended."""


@dataclass(frozen=True)
class Sample:
    """One request; times in seconds."""

    sent_at: float
    """Since the start of the proof."""
    door: str
    ttft_seconds: float | None
    latency_seconds: float
    error: str | None = None


@dataclass
class Load:
    """Sends requests to two ports: the load balancer's, or one pod's own."""

    model: str
    http_port: int
    max_tokens: int
    session: aiohttp.ClientSession
    client: FleetClient
    """Of the gRPC port."""
    now: Callable[[], float]
    reconnects: int = 0
    """HTTP requests that were sent again: nginx had closed the idle connection under them for its new configuration, as
    it closes any idle connection. Clients such as OpenAI's do the same."""

    async def send(self, number: int, first: asyncio.Event | None = None) -> Sample:
        """Send one request and return what came of it; *first* is set with its first token, or when it failed."""
        sent_at, began = self.now(), time.perf_counter()
        door = ("kserve-grpc", "openai-sse")[number % 2]
        texts = (self._ask_grpc, self._ask_openai)[number % 2]
        ttft, error = None, None
        try:
            async with aclosing(texts(f"Request {number}: tell me about lighthouses.")) as pieces:
                async for piece in pieces:
                    if piece and ttft is None:
                        ttft = time.perf_counter() - began
                        if first is not None:
                            first.set()
        except (FleetError, aiohttp.ClientError, OSError, ValueError) as err:
            error = f"{type(err).__name__}: {err}"
        if ttft is None and error is None:
            error = "the answer was empty"
        if first is not None:
            first.set()
        return Sample(sent_at, door, ttft, time.perf_counter() - began, error)

    async def run(self, phases: Sequence[Phase], seed: int) -> list[Sample]:
        """Send requests at random times (a Poisson process) through all *phases*; wait for all answers."""
        chance, tasks = random.Random(seed), list[asyncio.Task[Sample]]()
        for phase in phases:
            at = self.now() + chance.expovariate(phase.rate)
            while not phase.over():
                await asyncio.sleep(min(1.0, max(0.0, at - self.now())))
                if self.now() >= at:
                    tasks.append(asyncio.create_task(self.send(len(tasks))))
                    at += chance.expovariate(phase.rate)
        return [await task for task in tasks]

    async def _ask_grpc(self, prompt: str) -> AsyncGenerator[str]:
        sampling = {"max_tokens": self.max_tokens, "ignore_eos": True}
        request = GenerateRequest(self.model, prompt, sampling, stream=True)
        async with aclosing(self.client.stream(request)) as chunks:
            async for chunk in chunks:
                yield "".join(chunk.texts)

    async def _ask_openai(self, prompt: str) -> AsyncGenerator[str]:
        body = {"model": self.model, "prompt": prompt, "max_tokens": self.max_tokens, "stream": True}
        url, finished = f"http://127.0.0.1:{self.http_port}/v1/completions", False
        async with await self._post(url, body | {"ignore_eos": True}) as response:
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
                    yield event["choices"][0]["text"] if event["choices"] else ""
        if not finished:
            raise ValueError("the stream ended before [DONE]")

    async def _post(self, url: str, body: dict[str, Any]) -> aiohttp.ClientResponse:
        try:
            return await self.session.post(url, json=body)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            self.reconnects += 1
            return await self.session.post(url, json=body)


@dataclass
class Witnesses:
    """Long requests that run on a pod at the moment in which it is told to go: each must be answered whole."""

    load: Load
    max_tokens: int
    samples: list[Sample] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _count: int = 0

    async def join(self, pod: Pod) -> None:
        """Start a request on *pod* itself, by one door or the other, and return with its first token."""
        number, first = self._count, asyncio.Event()
        self._count += 1
        self._tasks.add(asyncio.create_task(self._watch(pod, number, first)))
        async with asyncio.timeout(60):
            await first.wait()

    async def finish(self) -> list[Sample]:
        """Wait for the answers and return what came of them."""
        await asyncio.gather(*self._tasks)
        return self.samples

    async def _watch(self, pod: Pod, number: int, first: asyncio.Event) -> None:
        async with FleetClient(f"127.0.0.1:{pod.grpc}", timeout_seconds=120) as client:
            load = replace(self.load, http_port=pod.openai, max_tokens=self.max_tokens, client=client)
            self.samples.append(await load.send(number, first))
