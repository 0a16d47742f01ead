"""Doors compared in alternating rounds."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator
from itertools import pairwise

import pytest

from tritonfleet.bench.compare import Load, Plan, Turn, compare, goals, rows, turn_order
from tritonfleet.bench.stats import Sample
from tritonfleet.bench.target import Target
from tritonfleet.client.messages import Chunk, GenerateRequest, ModelInfo
from tritonfleet.errors import RequestRefused

INFO = ModelInfo("m", frozenset({"text_input"}), {})


class ScriptedDoor:
    """Answers at once and remembers what it was asked."""

    def __init__(self, chunks: list[Chunk]) -> None:
        self.chunks = chunks
        self.asked: list[GenerateRequest] = []

    async def stream(
        self, request: GenerateRequest, info: ModelInfo, timeout_seconds: float | None
    ) -> AsyncGenerator[Chunk, None]:
        self.asked.append(request)
        for chunk in self.chunks:
            yield chunk

    async def close(self) -> None:
        """Nothing is open."""


COUNTED = [Chunk(("a",), (1,)), Chunk(("b",), (2,))]
COUNTED_AT_THE_END = [Chunk(("a",)), Chunk(("b",)), Chunk((), (3,))]


def test_every_order_comes_as_often() -> None:
    """Over six rounds each of three doors has each place twice and follows each other door as often."""
    orders = [turn_order(["a", "b", "c"], number) for number in range(6)]
    for place in range(3):
        assert Counter(order[place] for order in orders) == {"a": 2, "b": 2, "c": 2}
    followed = Counter(pair for order in orders for pair in pairwise(order))
    assert len(followed) == 6
    assert set(followed.values()) == {2}
    assert turn_order(["a", "b", "c"], 6) == orders[0]


async def test_all_turns() -> None:
    """Every door gets every load in every round, warm-up apart, with prompts that share no prefix."""
    doors = {"engine": ScriptedDoor(COUNTED_AT_THE_END), "grpc": ScriptedDoor(COUNTED)}
    seen: list[Turn] = []
    plan = Plan((Load(1, 2), Load(3, 6)), 4, ("x", "y"), {"max_tokens": 3})
    targets = [Target(name, door, INFO) for name, door in doors.items()]
    turns = await compare(targets, plan, lambda: {"engine": 0.5}, seen.append)
    assert turns == seen
    assert len(turns) == 2 * 2 * 4
    for turn in turns:
        assert [sample.output_tokens for sample in turn.samples] == [3] * (2 if turn.streams == 1 else 6)
        assert turn.cpu_seconds == {"engine": 0.5}
    sent = [request.prompt for door in doors.values() for request in door.asked]
    assert len(sent) == len(set(sent)) == 2 * (1 + 3) + 2 * 4 * (2 + 6)
    assert all(request.stream and request.sampling == {"max_tokens": 3} for request in doors["grpc"].asked)


async def test_uncounted_tokens_are_refused() -> None:
    """A door that does not count tokens cannot be compared, and says so."""
    target = Target("grpc", ScriptedDoor([Chunk(("a",))]), INFO)
    with pytest.raises(RequestRefused, match="'m' at grpc does not count its tokens"):
        await target.sample("p", {})


def turn(number: int, door: str, seconds: float, ttft: float, streams: int = 1) -> Turn:
    """Return a turn of two requests of 10 tokens."""
    samples = (Sample(ttft, 1.0, 10), Sample(ttft, 1.0, 10))
    return Turn(number, door, streams, samples, seconds, {"engine": 0.2, "client": 0.01})


def test_rows_compare_within_a_round() -> None:
    """A round in which the whole machine was slow does not touch the ratio."""
    slow = [1.0, 5.0, 1.0]
    turns = [turn(n, "grpc", factor * 1.25, 0.012 * factor) for n, factor in enumerate(slow)]
    turns += [turn(n, "engine", factor, 0.010 * factor) for n, factor in enumerate(slow)]
    base, grpc = rows(turns, "engine")
    assert (base.door, base.ratio, base.ttft_more) == ("engine", None, None)
    assert grpc.ratio is not None
    assert grpc.ttft_more is not None
    assert (grpc.ratio.low, grpc.ratio.value, grpc.ratio.high) == pytest.approx((0.8, 0.8, 0.8))
    assert grpc.ttft_more.value == pytest.approx(0.002)
    assert grpc.summary.output_tokens == 60
    assert grpc.cpu_per_1000_tokens == pytest.approx({"engine": 10.0, "client": 0.5})


def test_goals() -> None:
    """Each ratio is judged; the time to first token at one stream only."""
    turns = [turn(0, "engine", 1.0, 0.010), turn(0, "grpc", 1.0, 0.012), turn(0, "http", 1.2, 0.020)]
    turns += [turn(0, "engine", 1.0, 0.010, 8), turn(0, "grpc", 1.0, 0.090, 8)]
    judged = goals(rows(turns, "engine"), ratio=0.95, ttft_more_seconds=0.005)
    assert [goal.met for goal in judged] == [True, True, False, False, True]
    assert judged[1].text == "grpc, 1 stream: TTFT p50 +2.00 ms (goal <= +5 ms)"
    assert judged[2].text == "http, 1 stream: 0.833 of the engine's tokens/s (goal >= 0.95)"
