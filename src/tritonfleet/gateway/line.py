"""The bounded line of requests that wait for their turn at one model. Pure but for the futures it hands out."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from dataclasses import dataclass, field

from tritonfleet.gateway.problem import Problem

#: A guess of the time that a request takes, until one has ended.
FIRST_GUESS_SECONDS = 5.0
#: Weight of the newest request in the running mean.
NEWEST = 0.1
MAX_RETRY_SECONDS = 60.0


@dataclass(order=True)
class Waiter:
    """A request in the line; the one with the highest priority, then the oldest, is first."""

    rank: tuple[int, int]
    turn: asyncio.Future[None] = field(compare=False)


class Line:
    """Lets at most *running* requests of one model through, and at most *waiting* wait."""

    def __init__(self, running: Callable[[], int], waiting: int, wait_seconds: float) -> None:
        self._limit = running
        self._room = waiting
        self._wait_seconds = wait_seconds
        self._waiters: list[Waiter] = []
        self._count = 0
        self._mean_seconds = FIRST_GUESS_SECONDS
        self.running = 0

    @property
    def waiting(self) -> int:
        """Requests that wait now."""
        return len(self._waiters)

    @property
    def full(self) -> bool:
        """Whether a new request has to wait."""
        return bool(self._waiters) or self.running >= self._limit()

    async def take(self, model: str, priority: int = 0, wait_seconds: float | None = None) -> None:
        """Wait for a turn, to be given back; raise Problem (429) when the line is full or the wait too long.

        *wait_seconds* is for this request only; None takes the line's own.
        """
        if self.full:
            await self._wait(model, priority, self._wait_seconds if wait_seconds is None else wait_seconds)
        else:
            self.running += 1

    def give_back(self, seconds: float) -> None:
        """End a turn that took *seconds*."""
        self._mean_seconds += NEWEST * (seconds - self._mean_seconds)
        self.running -= 1
        self.advance()

    def advance(self) -> None:
        """Give free turns to those who wait; also called when there is more room than before."""
        while self._waiters and self.running < self._limit():
            waiter = heapq.heappop(self._waiters)
            if not waiter.turn.done():
                self.running += 1
                waiter.turn.set_result(None)

    def retry_seconds(self) -> float:
        """Return a guess of how long a new request would wait."""
        ahead = (self.waiting + 1) / max(1, self._limit())
        return min(MAX_RETRY_SECONDS, max(1.0, ahead * self._mean_seconds))

    async def _wait(self, model: str, priority: int, seconds: float) -> None:
        self._count += 1
        waiter = Waiter((-priority, self._count), asyncio.get_running_loop().create_future())
        if len(self._waiters) >= self._room:
            self._make_room(model, waiter)
        heapq.heappush(self._waiters, waiter)
        try:
            async with asyncio.timeout(seconds):
                await waiter.turn
        except TimeoutError:
            self._leave(waiter)
            raise self._full(model, f"no turn came within {seconds:g} s") from None
        except asyncio.CancelledError:
            self._leave(waiter)
            raise

    def _leave(self, waiter: Waiter) -> None:
        """Take out a waiter who gave up; a turn that came at the same moment goes to the next."""
        if waiter in self._waiters:
            self._waiters.remove(waiter)
            heapq.heapify(self._waiters)
        elif waiter.turn.done() and not waiter.turn.cancelled() and waiter.turn.exception() is None:
            self.running -= 1
            self.advance()

    def _make_room(self, model: str, newcomer: Waiter) -> None:
        """Send the last of the line away if *newcomer* goes before it, else refuse *newcomer*."""
        last = max(self._waiters, default=newcomer)
        full = self._full(model, f"{self._room} requests wait already")
        if newcomer >= last or newcomer.rank[0] == last.rank[0]:
            raise full
        self._waiters.remove(last)
        heapq.heapify(self._waiters)
        last.turn.set_exception(full)

    def _full(self, model: str, why: str) -> Problem:
        return Problem(
            429,
            "overloaded",
            f"the model {model!r} is overloaded: {why}; try again later",
            retry_after_seconds=self.retry_seconds(),
        )
