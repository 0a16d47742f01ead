"""Closed and open loops."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tritonfleet.bench.load import arrival_times, closed_loop, open_loop


@pytest.mark.parametrize(("streams", "requests", "most"), [(1, 5, 1), (3, 10, 3), (8, 4, 4), (2, 0, 0)])
async def test_closed_loop_keeps_its_streams_busy(streams: int, requests: int, most: int) -> None:
    """As many requests run as there are streams, never more; results stand in the order of the numbers."""
    running = highest = 0

    async def send(number: int) -> int:
        nonlocal running, highest
        running += 1
        highest = max(highest, running)
        for _ in range(number % 3 + 1):
            await asyncio.sleep(0)
        running -= 1
        return number * 10

    results, seconds = await closed_loop(send, streams=streams, requests=requests)
    assert results == [number * 10 for number in range(requests)]
    assert highest == most
    assert seconds >= 0


async def test_closed_loop_ends_with_the_first_failure() -> None:
    """A failed request is not a sample: the loop stops and says why."""
    sent = []

    async def send(number: int) -> None:
        sent.append(number)
        await asyncio.sleep(0)
        if number == 2:
            raise RuntimeError("gone")

    with pytest.raises(ExceptionGroup) as caught:
        await closed_loop(send, streams=2, requests=100)
    assert caught.group_contains(RuntimeError, match="gone")
    assert len(sent) < 10


async def test_open_loop_does_not_wait_for_answers() -> None:
    """All requests arrive although the first is answered last."""
    all_there = asyncio.Event()
    arrived = 0

    async def send(number: int) -> int:
        nonlocal arrived
        arrived += 1
        if arrived == 20:
            all_there.set()
        await asyncio.wait_for(all_there.wait(), 10)
        return number

    results, _ = await open_loop(send, rate=2000, requests=20)
    assert results == list(range(20))


@given(st.floats(0.1, 1e4), st.integers(0, 50), st.integers())
def test_arrivals(rate: float, requests: int, seed: int) -> None:
    """Arrivals start at 0, grow, and are the same for the same seed."""
    times = arrival_times(rate, requests, seed)
    assert len(times) == requests
    assert times == sorted(times)
    assert times[:1] == [0.0][:requests]
    assert times == arrival_times(rate, requests, seed)


def test_arrivals_have_the_rate() -> None:
    """On average as many requests a second come as were asked for."""
    assert arrival_times(50, 20000, 1)[-1] == pytest.approx(20000 / 50, rel=0.05)


def test_impossible_rate() -> None:
    """A rate must be positive."""
    with pytest.raises(ValueError, match="positive rate"):
        arrival_times(0, 1, 0)
