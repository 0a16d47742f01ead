"""Requests and tokens per minute of API keys, counted by all workers together.

The count is that of the last sixty seconds: all of this minute and the matching share of the one before, which
smooths the edge between two minutes at the price of two numbers a key.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Literal

from tritonfleet.gateway.board import Board
from tritonfleet.gateway.keys import Caller
from tritonfleet.gateway.metrics import Metrics
from tritonfleet.gateway.problem import Problem
from tritonfleet.gateway.usage import Usage

MINUTE = 60.0
What = Literal["requests", "tokens"]


def counted(before: int, now: int, elapsed: float) -> float:
    """Return the count of the last sixty seconds: *before* in the minute before, *now* in this one so far."""
    return before * (1 - elapsed / MINUTE) + now


def wait_seconds(before: int, now: int, elapsed: float, room: float) -> float:
    """Return the seconds until the count is at most *room* (>= 0), if nothing is added meanwhile."""
    if counted(before, now, elapsed) <= room:
        return 0.0
    if now <= room:
        return MINUTE * (1 - (room - now) / before) - elapsed
    return MINUTE - elapsed + MINUTE * (1 - room / now)


class Limits:
    """Counts the callers' requests and tokens, and refuses what is too much."""

    def __init__(self, board: Board, metrics: Metrics, clock: Callable[[], float] = time.time) -> None:
        self._board = board
        self._metrics = metrics
        self._clock = clock

    def admit(self, caller: Caller) -> None:
        """Count one request; raise Problem (429) if the caller has used up its requests or tokens."""
        if not caller.id:
            return
        if caller.requests_per_minute is not None:
            self._check(caller, "requests", caller.requests_per_minute, caller.requests_per_minute - 1)
        if caller.tokens_per_minute is not None:
            self._check(caller, "tokens", caller.tokens_per_minute, caller.tokens_per_minute - 1)
        if caller.requests_per_minute is not None:
            self._add(caller, "requests", 1)
        self._metrics.count("key_requests", caller.id)

    def charge(self, caller: Caller, usage: Usage) -> None:
        """Count the tokens of a request that has ended."""
        if caller.tokens_per_minute is not None:
            self._add(caller, "tokens", usage.total)
            self._metrics.count("key_tokens", caller.id, amount=usage.total)

    def _check(self, caller: Caller, what: What, limit: int, room: int) -> None:
        minute, elapsed = divmod(self._clock(), MINUTE)
        before = self._board.total_in_minute(self._row(caller, what, int(minute) - 1), int(minute) - 1)
        now = self._board.total_in_minute(self._row(caller, what, int(minute)), int(minute))
        wait = wait_seconds(before, now, elapsed, room)
        if wait > 0:
            raise Problem(
                429,
                "rate_limit_exceeded",
                f"this API key may use {limit} {what} per minute and has used them; try again in {math.ceil(wait)} s",
                retry_after_seconds=math.ceil(wait),
            )

    def _add(self, caller: Caller, what: What, amount: int) -> None:
        minute = int(self._clock() // MINUTE)
        self._board.add_in_minute(self._row(caller, what, minute), minute, amount)

    def _row(self, caller: Caller, what: What, minute: int) -> int:
        # Two rows take turns, so that the minute before is still there.
        return self._board.row(f"{what} {caller.id} {minute % 2}")
