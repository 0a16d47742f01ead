"""A run of `tritonfleet bench`: the loads one after the other, with a live bar; a stopped run keeps what it has."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from tritonfleet import errors
from tritonfleet.bench.crew import Closed, Crew, Failure, News, Work
from tritonfleet.bench.levels import Extent, Level, Search, load_of
from tritonfleet.bench.outcome import Outcome
from tritonfleet.bench.stats import Sample
from tritonfleet.client.stats import duration_text, percentile, significant
from tritonfleet.errors import RequestFailed

#: More load generators than this were never needed to keep a server busy.
MOST_PROCESSES = 8


@dataclass(frozen=True)
class Goal:
    """TTFT that the search keeps."""

    ttft_seconds: float
    percent: float = 95.0
    """Percentile of the requests that must be so fast."""
    most: int = 1024
    """Streams that are never exceeded."""


@dataclass
class Session:
    """What was measured so far; it outlives Ctrl-C."""

    work: Work
    extent: Extent
    outcomes: list[Outcome] = field(default_factory=list)
    interrupted: bool = False

    @property
    def failed(self) -> bool:
        """Whether any request failed."""
        return any(outcome.failures for outcome in self.outcomes)

    def measure(self, levels: list[Level], processes: int | None, console: Console) -> None:
        """Take every load; raise the door's own error if not even one request is answered."""
        with _Stage(self, processes or processes_for(levels), console) as stage:
            stage.try_out()
            for level in levels:
                stage.take(level)

    def search(self, goal: Goal, processes: int | None, console: Console) -> Search:
        """Find the highest number of streams that holds *goal*; raise as `measure` does."""
        search = Search(goal.most)
        with _Stage(self, processes or processes_for([Level(streams=goal.most)]), console) as stage:
            # Streams that begin together wait for each other's prompts, which in a server that is up they do not.
            ramp = stage.try_out()
            for streams in _steps(search):
                outcome = stage.take(Level(streams=streams), ramp_seconds=ramp)
                if not outcome.complete:
                    break
                search.saw(streams, holds=outcome.holds(goal.ttft_seconds, goal.percent))
        return search


def _steps(search: Search) -> Iterator[int]:
    while (streams := search.next()) is not None:
        yield streams


def processes_for(levels: list[Level]) -> int:
    """Return how many load generators suit the loads and this machine: half of its cores, the servers need some too."""
    most = max((level.streams or MOST_PROCESSES for level in levels), default=1)
    return max(1, min(MOST_PROCESSES, len(os.sched_getaffinity(0)) // 2, most))


class _Stage:
    """The load generators and the screen, while a session runs."""

    def __init__(self, session: Session, processes: int, console: Console) -> None:
        self._session = session
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[news]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._crew = Crew(processes)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
        self._crew.close()

    def try_out(self) -> float:
        """Send one request and return its latency in seconds; raise its error if it fails."""
        results: list[Sample | Failure] = []

        def on_news(news: News) -> None:
            results.extend(news)

        self._crew.run(self._session.work, Closed(1, 1), on_news)
        result = results[0]
        if isinstance(result, Failure):
            raise _error(result)
        return result.latency_seconds

    def take(self, level: Level, *, ramp_seconds: float = 0.0) -> Outcome:
        """Take one load and keep its outcome; Ctrl-C leaves it incomplete."""
        session = self._session
        load = load_of(level, session.extent, ramp_seconds=ramp_seconds, seed=len(session.outcomes))
        view = _View(level, session.extent, load.requests if isinstance(load, Closed) else len(load.arrivals))
        bar = self._progress.add_task(str(level), total=1.0, news="")
        complete = True
        try:
            seconds = self._crew.run(session.work, load, lambda news: self._show(bar, view, news))
        except KeyboardInterrupt:
            session.interrupted, complete = True, False
            seconds = max(0.0, time.monotonic() - self._crew.started_at)
        outcome = Outcome(level, tuple(view.samples), tuple(view.failures), seconds, complete)
        session.outcomes.append(outcome)
        self._progress.remove_task(bar)
        if not self._console.is_terminal:
            self._console.print(f"{level}: {view.line(seconds)}", highlight=False)
        if not complete:
            raise KeyboardInterrupt
        return outcome

    def _show(self, bar: TaskID, view: _View, news: News) -> None:
        view.add(news)
        seconds = time.monotonic() - self._crew.started_at
        self._progress.update(bar, completed=view.share(seconds), news=view.line(seconds))


@dataclass
class _View:
    """What is known of a load while it runs."""

    level: Level
    extent: Extent
    requests: int | None
    samples: list[Sample] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    def add(self, news: News) -> None:
        for result in news:
            if isinstance(result, Failure):
                self.failures.append(result)
            else:
                self.samples.append(result)

    def share(self, seconds: float) -> float:
        """Return how much of the load is done, 0 to 1."""
        if self.requests is not None:
            return (len(self.samples) + len(self.failures)) / max(1, self.requests)
        return min(1.0, seconds / self.extent.seconds) if self.extent.seconds else 0.0

    def line(self, seconds: float) -> str:
        """Return the numbers in a few words."""
        done = f"{len(self.samples)}" if self.requests is None else f"{len(self.samples)}/{self.requests}"
        parts = [f"{done} requests"]
        if self.samples and seconds > 0:
            rate = sum(sample.output_tokens for sample in self.samples) / seconds
            ttft = percentile([sample.ttft_seconds for sample in self.samples], 50)
            parts += [f"{significant(rate)} tokens/s", f"TTFT p50 {duration_text(ttft)}"]
        if self.failures:
            parts.append(f"{len(self.failures)} failed")
        return ", ".join(parts)


def _error(failure: Failure) -> RequestFailed:
    kind = getattr(errors, failure.kind, RequestFailed)
    return kind(failure.message) if issubclass(kind, RequestFailed) else RequestFailed(failure.message)
