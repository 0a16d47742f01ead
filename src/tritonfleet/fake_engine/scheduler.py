"""Which requests run and which wait: lowest priority number first, then first come, first served."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count


class Scheduler:
    """Lets at most *limit* requests run at the same time, and none while the engine sleeps."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._queue: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = count()
        self.running = 0
        self.sleeping = False

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return sum(not future.done() for _, _, future in self._queue)

    @asynccontextmanager
    async def turn(self, priority: int) -> AsyncIterator[None]:
        """Wait for a turn, and give it back at the end; a cancelled wait leaves the queue."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._queue, (priority, next(self._order), turn))
        self._hand_out()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # the turn came in the same moment
                self._give_back()
            raise
        try:
            yield
        finally:
            self._give_back()

    def sleep(self) -> None:
        """Hand out no more turns."""
        self.sleeping = True

    def wake(self) -> None:
        """Hand out turns again."""
        self.sleeping = False
        self._hand_out()

    def _give_back(self) -> None:
        self.running -= 1
        self._hand_out()

    def _hand_out(self) -> None:
        while self._queue and self.running < self._limit and not self.sleeping:
            turn = heapq.heappop(self._queue)[2]
            if not turn.done():
                self.running += 1
                turn.set_result(None)
