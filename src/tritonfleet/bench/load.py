"""Load on a server: closed loop (so many streams, each sends again when answered) and open loop (a given rate)."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from itertools import accumulate
from typing import TypeVar

T = TypeVar("T")
#: Sends the request with this number and returns what came of it.
Send = Callable[[int], Awaitable[T]]


async def closed_loop(send: Send[T], *, streams: int, requests: int) -> tuple[list[T], float]:
    """Send *requests* requests, *streams* at a time; return the results by number and the seconds it took."""
    numbers = iter(range(requests))
    results: dict[int, T] = {}

    async def stream() -> None:
        for number in numbers:
            results[number] = await send(number)

    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(min(streams, requests)):
            group.create_task(stream())
    seconds = time.perf_counter() - started
    return [results[number] for number in range(requests)], seconds


async def open_loop(send: Send[T], *, rate: float, requests: int, seed: int = 0) -> tuple[list[T], float]:
    """Send *requests* requests at random times, *rate* of them a second on average, however slow the answers are.

    Returns the results by number and the seconds from the first arrival to the last answer.
    """
    arrivals = arrival_times(rate, requests, seed)
    started = time.perf_counter()

    async def send_at(number: int) -> T:
        await asyncio.sleep(max(0.0, started + arrivals[number] - time.perf_counter()))
        return await send(number)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(send_at(number)) for number in range(requests)]
    return [task.result() for task in tasks], time.perf_counter() - started


def arrival_times(rate: float, requests: int, seed: int) -> list[float]:
    """Return seconds after the start, growing, the first at 0: a Poisson process of *rate* a second. Pure."""
    if rate <= 0:
        raise ValueError(f"an open loop needs a positive rate, not {rate}")
    chance = random.Random(seed)  # noqa: S311 - load, not secrets
    gaps = (chance.expovariate(rate) for _ in range(requests - 1))
    return list(accumulate(gaps, initial=0.0))[:requests]
