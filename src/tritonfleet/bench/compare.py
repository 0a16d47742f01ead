"""Several doors to the same engine compared in one run, in alternating rounds so that slow drift cancels out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

from tritonfleet.bench.load import closed_loop
from tritonfleet.bench.stats import Interval, Sample, Summary, bootstrap_median, summarize
from tritonfleet.bench.target import Target
from tritonfleet.client.stats import percentile

#: Returns CPU seconds by group of processes since it was last called; see ``cpu.CpuMeter.lap``.
Lap = Callable[[], Mapping[str, float]]


@dataclass(frozen=True)
class Load:
    """A closed loop."""

    streams: int
    requests: int
    """Requests of one round at one door."""


@dataclass(frozen=True)
class Plan:
    """What a comparison sends."""

    loads: tuple[Load, ...]
    rounds: int
    """Rounds for each load; in each of them every door has its turn."""
    prompts: tuple[str, ...]
    sampling: Mapping[str, Any]
    timeout_seconds: float = 120.0


@dataclass(frozen=True)
class Turn:
    """One door's turn in one round."""

    number: int
    """Number of the round."""
    door: str
    streams: int
    samples: tuple[Sample, ...]
    seconds: float
    cpu_seconds: Mapping[str, float]


@dataclass(frozen=True)
class Row:
    """One door at one load, and how it compares with the base."""

    door: str
    streams: int
    summary: Summary
    ratio: Interval | None
    """Tokens/s over the base's in the same round; None for the base itself."""
    ttft_more: Interval | None
    """Seconds of TTFT p50 more than the base's in the same round."""
    cpu_per_1000_tokens: Mapping[str, float]
    """CPU seconds by group of processes."""


@dataclass(frozen=True)
class Goal:
    """What a row must reach."""

    text: str
    met: bool


def turn_order(doors: Sequence[str], number: int) -> list[str]:
    """Return the order of the doors in round *number*; over all rounds each follows each other one as often."""
    orders = list(permutations(doors))
    return list(orders[number % len(orders)])


async def compare(targets: Sequence[Target], plan: Plan, lap: Lap, on_turn: Callable[[Turn], None]) -> list[Turn]:
    """Run *plan* on all *targets* and return every turn; a failed request ends the comparison with its error."""
    by_name = {target.name: target for target in targets}
    prompts = _Prompts(plan.prompts)
    turns = []
    for load in plan.loads:
        for target in targets:
            await _take_turn(target, Load(load.streams, load.streams), plan, prompts, lap, -1)
        for number in range(plan.rounds):
            for name in turn_order(list(by_name), number):
                turn = await _take_turn(by_name[name], load, plan, prompts, lap, number)
                turns.append(turn)
                on_turn(turn)
    return turns


async def _take_turn(target: Target, load: Load, plan: Plan, prompts: _Prompts, lap: Lap, number: int) -> Turn:
    texts = [prompts.next() for _ in range(load.requests)]

    async def send(request: int) -> Sample:
        return await target.sample(texts[request], plan.sampling, timeout_seconds=plan.timeout_seconds)

    lap()
    samples, seconds = await closed_loop(send, streams=load.streams, requests=load.requests)
    return Turn(number, target.name, load.streams, tuple(samples), seconds, dict(lap()))


class _Prompts:
    """Gives out prompts that differ from their first token on, so that no door finds a prefix that another cached."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = texts
        self._count = 0

    def next(self) -> str:
        self._count += 1
        return f"{self._count}. {self._texts[self._count % len(self._texts)]}"


def rows(turns: Sequence[Turn], base: str) -> list[Row]:
    """Return a row for each load and door, in the order in which they first came, the base before the others."""
    found = []
    for streams in dict.fromkeys(turn.streams for turn in turns):
        doors = dict.fromkeys(turn.door for turn in turns if turn.streams == streams)
        for door in sorted(doors, key=lambda name: name != base):
            found.append(_row([turn for turn in turns if turn.streams == streams], door, base))
    return found


def _row(turns: Sequence[Turn], door: str, base: str) -> Row:
    mine = {turn.number: turn for turn in turns if turn.door == door}
    others = {turn.number: turn for turn in turns if turn.door == base}
    summary = summarize(
        [sample for turn in mine.values() for sample in turn.samples], sum(turn.seconds for turn in mine.values())
    )
    cpu: dict[str, float] = {}
    for turn in mine.values():
        for group, seconds in turn.cpu_seconds.items():
            cpu[group] = cpu.get(group, 0.0) + seconds
    pairs = [(mine[number], others[number]) for number in sorted(mine.keys() & others.keys())]
    return Row(
        door=door,
        streams=turns[0].streams,
        summary=summary,
        ratio=None if door == base else bootstrap_median([_rate(a) / _rate(b) for a, b in pairs]),
        ttft_more=None if door == base else bootstrap_median([_ttft(a) - _ttft(b) for a, b in pairs]),
        cpu_per_1000_tokens={group: seconds * 1000 / summary.output_tokens for group, seconds in cpu.items()},
    )


def _rate(turn: Turn) -> float:
    return sum(sample.output_tokens for sample in turn.samples) / turn.seconds


def _ttft(turn: Turn) -> float:
    return percentile([sample.ttft_seconds for sample in turn.samples], 50)


def goals(found: Sequence[Row], *, ratio: float, ttft_more_seconds: float) -> list[Goal]:
    """Return whether each door reaches *ratio* at every load, and *ttft_more_seconds* at one stream."""
    judged = []
    for row in found:
        if row.ratio is not None:
            streams = "1 stream" if row.streams == 1 else f"{row.streams} streams"
            text = f"{row.door}, {streams}: {row.ratio.value:.3f} of the engine's tokens/s (goal >= {ratio})"
            judged.append(Goal(text, row.ratio.value >= ratio))
        if row.ttft_more is not None and row.streams == 1:
            text = (
                f"{row.door}, 1 stream: TTFT p50 {row.ttft_more.value * 1e3:+.2f} ms "
                f"(goal <= +{ttft_more_seconds * 1e3:g} ms)"
            )
            judged.append(Goal(text, row.ttft_more.value <= ttft_more_seconds))
    return judged
