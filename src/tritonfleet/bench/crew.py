"""Load generators in processes of their own: one Python process makes too little load to measure a fast server.

Every process gets its share of the load and starts at the same moment. Results come back while the load runs, so an
interrupted run keeps what it has.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate, count, islice
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import TracebackType
from typing import Any, Self

from tritonfleet.bench.doors import Place
from tritonfleet.bench.prompts import Prompts
from tritonfleet.bench.stats import Sample
from tritonfleet.bench.target import Target
from tritonfleet.errors import FleetError, RequestFailed

#: Between an order and its first request (seconds): every process has read its share and made its prompts by then.
HEAD_START_SECONDS = 0.5
#: How often a process tells its results (seconds).
NEWS_SECONDS = 0.1
#: How long a process may take to end when asked (seconds).
_END_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Failure:
    """A request that got no complete answer."""

    kind: str
    """Name of the error class, for example ``RequestTimeout``."""
    message: str


@dataclass(frozen=True)
class Work:
    """What is sent, whatever the load."""

    place: Place
    prompts: Prompts
    sampling: Mapping[str, Any]
    timeout_seconds: float = 600.0
    keep_gaps: bool = False
    """Whether samples hold the times between responses."""


@dataclass(frozen=True)
class Closed:
    """So many streams, each of which sends again when it is answered."""

    streams: int
    requests: int | None = None
    """Requests of all streams together."""
    seconds: float | None = None
    """No request is sent after this time; at least one of the two limits is needed."""
    ramp_seconds: float = 0.0
    """Time over which the streams begin one after the other; 0 lets all begin at once."""


@dataclass(frozen=True)
class Open:
    """Requests at given times, however slow the answers are."""

    arrivals: tuple[float, ...]
    """Seconds after the start."""


@dataclass(frozen=True)
class _Order:
    """One process's share."""

    work: Work
    load: Closed | Open
    first: int
    """Number of its first request."""
    step: int
    """Its further requests have this distance, so that no two processes send the same prompt."""
    start_at: float
    """On the monotonic clock, which all processes of a machine share."""


#: Results that came since the last look.
News = Sequence[Sample | Failure]


class Crew:
    """The processes; use it with ``with``."""

    def __init__(self, processes: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipes: list[Connection] = []
        self._processes: list[SpawnProcess] = []
        self._sent = 0
        self.started_at = 0.0
        """When the last load began, on the monotonic clock."""
        for number in range(processes):
            mine, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs,), name=f"load-{number}", daemon=True)
            with _without_interrupts():
                process.start()
            theirs.close()
            self._pipes.append(mine)
            self._processes.append(process)
        for place in range(processes):
            self._receive(self._pipes[place], place)  # it has imported everything

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids, for measuring their CPU time."""
        return tuple(process.pid for process in self._processes if process.pid is not None)

    def run(self, work: Work, load: Closed | Open, on_news: Callable[[News], None]) -> float:
        """Make the load; give results to *on_news* as they come, also without any; return the seconds it took.

        Raises FleetError if a process dies.
        """
        shares = split(load, len(self._pipes))
        start_at = self.started_at = time.monotonic() + HEAD_START_SECONDS
        running = {}
        for place, share in enumerate(shares):
            order = _Order(work, share, self._sent + place, len(shares), start_at)
            try:
                self._pipes[place].send(order)
            except OSError as err:
                raise self._dead(place) from err
            running[self._pipes[place]] = place
        self._sent += max(map(_requests, shares)) * len(shares)
        end = start_at
        while running:
            for pipe in wait(list(running), timeout=NEWS_SECONDS):
                assert isinstance(pipe, Connection)
                message = self._receive(pipe, running[pipe])
                if isinstance(message, float):
                    end = max(end, message)
                    del running[pipe]
                else:
                    on_news(message)
            on_news(())
        return end - start_at

    def close(self) -> None:
        """End the processes; requests under way are cancelled."""
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join(timeout=_END_SECONDS)
            if process.is_alive():
                process.kill()
                process.join()

    def _receive(self, pipe: Connection, place: int) -> Any:
        try:
            return pipe.recv()
        except (EOFError, OSError) as err:
            raise self._dead(place) from err

    def _dead(self, place: int) -> FleetError:
        process = self._processes[place]
        process.join(timeout=_END_SECONDS)
        return FleetError(f"the load generator {process.name} died (exit code {process.exitcode})")


def split(load: Closed | Open, processes: int) -> list[Closed | Open]:
    """Return the share of each process that gets one. Pure."""
    if isinstance(load, Open):
        parts = [load.arrivals[place::processes] for place in range(processes)]
        return [Open(part) for part in parts if part]
    limit = load.streams if load.requests is None else min(load.streams, load.requests)
    streams = _shares(limit, processes)
    requests = _shares_like(load.requests, streams)
    return [Closed(mine, some, load.seconds, load.ramp_seconds) for mine, some in zip(streams, requests, strict=True)]


def _shares(total: int, parts: int) -> list[int]:
    return [share for part in range(parts) if (share := total // parts + (part < total % parts))]


def _shares_like(total: int | None, weights: Sequence[int]) -> list[int | None]:
    """Split *total*, which is at least the sum of *weights*, in their proportion; no part is below its weight."""
    if total is None:
        return [None] * len(weights)
    whole, done, parts = sum(weights), 0, []
    for part in accumulate(weights):
        end = total * part // whole
        parts.append(end - done)
        done = end
    return list(parts)


def _requests(load: Closed | Open) -> int:
    # A timed load has no number; what is not known is more than one run sends.
    return len(load.arrivals) if isinstance(load, Open) else load.requests or 1_000_000


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Let processes that start meanwhile ignore Ctrl-C: it goes to all of a terminal, and they end with their pipe."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _work(pipe: Connection) -> None:
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(pipe))


async def _serve(pipe: Connection) -> None:
    targets: dict[Place, Target] = {}
    pipe.send(None)
    try:
        while (order := await _next_order(pipe)) is not None:
            place = order.work.place
            if place not in targets:
                targets[place] = place.open()
            share = asyncio.create_task(_Share(targets[place], order, pipe).run())
            gone = asyncio.create_task(_readable(pipe))
            await asyncio.wait({share, gone}, return_when=asyncio.FIRST_COMPLETED)
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)  # it must not take the next order's reader away
            if not share.done():  # nothing but the end is sent while a load runs
                share.cancel()
                await asyncio.gather(share, return_exceptions=True)
                return
            pipe.send(share.result())
    finally:
        for target in targets.values():
            await target.door.close()


async def _next_order(pipe: Connection) -> _Order | None:
    await _readable(pipe)
    try:
        order: _Order = pipe.recv()
    except (EOFError, OSError):
        return None
    return order


async def _readable(pipe: Connection) -> None:
    loop = asyncio.get_running_loop()
    there = asyncio.Event()
    loop.add_reader(pipe.fileno(), there.set)
    try:
        await there.wait()
    finally:
        loop.remove_reader(pipe.fileno())


class _Share:
    """One process's part of a load, while it runs."""

    def __init__(self, target: Target, order: _Order, pipe: Connection) -> None:
        self._target = target
        self._order = order
        self._pipe = pipe
        self._news: list[Sample | Failure] = []

    async def run(self) -> float:
        """Make the load and return when the last answer came, on the monotonic clock."""
        load = self._order.load
        telling = asyncio.create_task(self._tell_often())
        try:
            await (self._open(load) if isinstance(load, Open) else self._closed(load))
            end = time.monotonic()
        finally:
            telling.cancel()
        self._tell()
        return end

    async def _closed(self, load: Closed) -> None:
        numbers = self._numbers(load.requests)
        await _sleep_until(self._order.start_at)
        stop_at = self._order.start_at + load.seconds if load.seconds is not None else float("inf")

        async def stream(place: int) -> None:
            await asyncio.sleep(load.ramp_seconds * place / load.streams)
            for number, prompt in numbers:
                await self._send(number, prompt)
                if time.monotonic() >= stop_at:
                    return

        async with asyncio.TaskGroup() as group:
            for place in range(load.streams):
                group.create_task(stream(place))

    async def _open(self, load: Open) -> None:
        requests = list(self._numbers(len(load.arrivals)))
        async with asyncio.TaskGroup() as group:
            for (number, prompt), seconds in zip(requests, load.arrivals, strict=True):
                await _sleep_until(self._order.start_at + seconds)
                group.create_task(self._send(number, prompt))

    def _numbers(self, requests: int | None) -> Iterator[tuple[int, str]]:
        """Return numbers and prompts; a counted load's prompts are made before it starts."""
        numbers: Iterable[int] = count(self._order.first, self._order.step)
        made = ((number, self._order.work.prompts.text(number)) for number in numbers)
        return made if requests is None else iter(list(islice(made, requests)))

    async def _send(self, number: int, prompt: str) -> None:
        work = self._order.work
        try:
            found: Sample | Failure = await self._target.sample(
                prompt, work.sampling, timeout_seconds=work.timeout_seconds, keep_gaps=work.keep_gaps
            )
        except RequestFailed as err:
            found = Failure(type(err).__name__, str(err))
        self._news.append(found)

    async def _tell_often(self) -> None:
        while True:
            await asyncio.sleep(NEWS_SECONDS)
            self._tell()

    def _tell(self) -> None:
        if self._news:
            self._pipe.send(self._news)
            self._news = []


async def _sleep_until(at: float) -> None:
    await asyncio.sleep(max(0.0, at - time.monotonic()))
