"""One engine as a model of its speed: steps with chunks of prompts in them, exact between two events. Pure.

A step decodes one token of every running sequence, and takes in up to ``batch_tokens`` tokens of waiting prompts, as
vLLM's scheduler does. It lasts ``tpot(sequences) + prompt tokens / prefill rate``. Steps without prompts are counted,
not walked through, so that a request costs a few events whatever its length.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count

from tritonfleet.simulate.trace import Request

_NEVER = math.inf


@dataclass(frozen=True)
class Speed:
    """How fast one engine is, as measured or estimated."""

    tpot_seconds: tuple[tuple[int, float], ...]
    """Time of a decode step by the number of sequences in it; values between and beyond are interpolated."""
    prefill_tokens_per_second: float
    overhead_seconds: float = 0.0
    """Added to each request's time to first token: doors, tokeniser, the way through the processes."""
    max_running: int = 256
    """Sequences at once (``max_num_seqs``)."""
    kv_tokens: int = 1_000_000
    """Tokens that the KV cache holds."""
    batch_tokens: int = 8192
    """Prompt tokens in one step (``max_num_batched_tokens``)."""

    def tpot(self, sequences: int) -> float:
        """Return the seconds of a decode step with this many sequences."""
        return _interpolate(self.tpot_seconds, max(1, sequences))


@lru_cache(maxsize=8192)
def _interpolate(points: tuple[tuple[int, float], ...], at: int) -> float:
    if len(points) == 1:
        return points[0][1]
    right = next((index for index, point in enumerate(points) if point[0] >= at and index), len(points) - 1)
    (low, first), (high, second) = points[right - 1], points[right]
    return max(min(first, second) if at < low else 0.0, first + (second - first) * (at - low) / (high - low))


@dataclass(slots=True)
class Flight:
    """A request on its way."""

    number: int
    request: Request
    prompt_left: int = 0
    first_token: float | None = None
    ended: float | None = None


@dataclass(slots=True)
class Engine:
    """The sequences of one engine; whoever owns it calls ``finish`` at ``next_event``."""

    name: str
    speed: Speed
    next_event: float = _NEVER
    slowdown: int = 1
    """Engines that compute on the same device now; each gets its part of it."""
    _waiting: deque[Flight] = field(default_factory=deque)
    _running: list[tuple[int, int, Flight]] = field(default_factory=list)
    _prefilled: list[Flight] = field(default_factory=list)
    _order: count[int] = field(default_factory=count)
    _tokens: int = 0
    _admitted: int = 0
    _steps_done: int = 0
    _steps: int = 0
    _step_seconds: float = 0.0
    _begun: float = 0.0
    _prefilling: bool = False

    @property
    def busy(self) -> bool:
        """Whether it computes."""
        return self.next_event < _NEVER

    @property
    def load(self) -> int:
        """Requests that it has."""
        return len(self._waiting) + len(self._running) + len(self._prefilled)

    def add(self, flight: Flight, now: float) -> None:
        """Take a request; its prompt goes into the next step."""
        flight.prompt_left = flight.request.prompt_tokens
        self._waiting.append(flight)
        if not self.busy:
            self._plan(now)
        else:
            self.interrupt(now)

    def interrupt(self, now: float) -> None:
        """End a run of plain decode steps with the step that is under way, since what follows has changed."""
        if self.busy and not self._prefilling:
            done = math.ceil((now - self._begun) / self._step_seconds - 1e-9)
            self._steps = max(0, min(self._steps, done))
            self.next_event = self._begun + self._steps * self._step_seconds

    def drop(self, flight: Flight, now: float) -> None:
        """End a request that is not complete; the step that is under way still counts it."""
        before = self.load
        self._waiting = deque(each for each in self._waiting if each is not flight)
        self._prefilled = [each for each in self._prefilled if each is not flight]
        self._running = [entry for entry in self._running if entry[2] is not flight]
        heapq.heapify(self._running)
        if self.load == before:
            return
        if flight.prompt_left < flight.request.prompt_tokens:  # it was admitted
            self._tokens -= _room(flight)
            self._admitted -= 1
        self.interrupt(now)

    def finish(self, now: float) -> list[Flight]:
        """End the step or run of steps that is due, begin the next one, and return the requests that have ended."""
        self._steps_done += self._steps
        ended = []
        while self._running and self._running[0][0] <= self._steps_done:
            ended.append(heapq.heappop(self._running)[2])
        for flight in self._prefilled:
            flight.first_token = now + self.speed.overhead_seconds
            last = self._steps_done + flight.request.output_tokens - 1
            if last <= self._steps_done:
                ended.append(flight)
            else:
                heapq.heappush(self._running, (last, next(self._order), flight))
        self._prefilled = []
        for flight in ended:
            flight.ended = now + self.speed.overhead_seconds
            self._tokens -= _room(flight)
            self._admitted -= 1
        self._plan(now)
        return ended

    def _plan(self, now: float) -> None:
        tokens = self._take_prompts()
        self._begun = now
        self._prefilling = tokens > 0
        if tokens:
            self._steps = 1
            self._step_seconds = self._step(tokens)
        elif self._running:
            self._steps = self._running[0][0] - self._steps_done
            self._step_seconds = self._step(0)
        else:
            self._steps, self.next_event = 0, _NEVER
            return
        self.next_event = now + self._steps * self._step_seconds

    def _step(self, prompt_tokens: int) -> float:
        plain = self.speed.tpot(len(self._running)) + prompt_tokens / self.speed.prefill_tokens_per_second
        return plain * self.slowdown

    def _take_prompts(self) -> int:
        """Put waiting prompts, or parts of them, into the next step; return their tokens."""
        left = self.speed.batch_tokens
        while self._waiting and left:
            flight = self._waiting[0]
            if flight.prompt_left == flight.request.prompt_tokens and not self._admit(flight):
                break
            chunk = min(left, flight.prompt_left)
            flight.prompt_left -= chunk
            left -= chunk
            if flight.prompt_left == 0:
                self._prefilled.append(self._waiting.popleft())
        return self.speed.batch_tokens - left

    def _admit(self, flight: Flight) -> bool:
        """Reserve room for a whole sequence; an engine that runs nothing takes any, so that none waits for ever."""
        full = self._admitted >= self.speed.max_running or self._tokens + _room(flight) > self.speed.kv_tokens
        if full and self._admitted:
            return False
        self._admitted += 1
        self._tokens += _room(flight)
        return True


def _room(flight: Flight) -> int:
    return flight.request.prompt_tokens + flight.request.output_tokens
