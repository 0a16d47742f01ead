"""Count and time requests, and tell Triton.

Triton counts a decoupled request as a success the moment it is handed over, so the truth is counted here. Updating
Triton's metrics from several threads crashes the server, so one thread makes and updates them all; each update goes to
the server process and back, so what has gathered meanwhile is added up first.
"""

from __future__ import annotations

import queue
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tritonfleet.bridge import metrics
from tritonfleet.bridge.failure import BridgeError
from tritonfleet.bridge.metrics import Definition, Register, Series

#: On busy cores tokens come in bursts, so the time between two of them says nothing; over this many it does.
MEAN_OVER_TOKENS = 16


@dataclass(slots=True)
class Timing:
    """When a request's tokens came (monotonic seconds)."""

    started: float
    keep: bool = False
    """Whether the gaps are wanted one by one."""
    first: float | None = None
    last: float = 0.0
    gaps: list[tuple[float, int]] = field(default_factory=list)
    """Seconds per token, and how many tokens came so; tokens that came together share the time before them."""
    _marked_at: float = 0.0
    _since_mark: int = 0

    def tokens(self, now: float, count: int) -> float | None:
        """Note that *count* tokens came; return the mean seconds per token now and then, when it is known."""
        if count <= 0:
            return None
        if self.first is None:
            self.first = self.last = self._marked_at = now
            count -= 1
        if count and self.keep:
            self.gaps.append(((now - self.last) / count, count))
        self.last = now
        self._since_mark += count
        if self._since_mark < MEAN_OVER_TOKENS:
            return None
        mean = (now - self._marked_at) / self._since_mark
        self._marked_at, self._since_mark = now, 0
        return mean


@dataclass(frozen=True, slots=True)
class Ended:
    """A request that is over."""

    outcome: str
    """``success``, ``refused``, ``failed``, ``cancelled`` or ``timeout``."""
    timing: Timing
    seconds: float
    """From its arrival to its end."""
    prompt_tokens: int
    tokens: int
    responses: int
    choices: int


class Meter:
    """Collects what ended, in any thread, and tells Triton in its own."""

    #: Rounds of updates are at least this far apart (seconds).
    PAUSE = 0.1
    #: Requests whose times are told in one round; the times of further ones are left out, their counts never.
    TIMED_AT_ONCE = 500

    def __init__(
        self,
        register: Register,
        in_flight: Callable[[], int],
        engine: Sequence[Definition] = (),
        unavailable: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._register = register
        self._in_flight = in_flight
        self._engine = tuple(engine)
        self._unavailable = unavailable
        self._queue: queue.SimpleQueue[Ended | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._dead = False
        self._series: dict[str, Series] = {}
        self._thread = threading.Thread(target=self._work, name="metrics", daemon=True)
        self._thread.start()

    def poke(self) -> None:
        """The number of requests in flight has changed."""
        if not self._dead and self._queue.empty():
            self._queue.put(None)

    def finished(self, ended: Ended) -> None:
        """A request has ended."""
        if not self._dead:
            self._queue.put(ended)

    def close(self) -> None:
        """Tell Triton the last counts and end the thread."""
        self._closing.set()
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        try:
            self._prepare()
            while not (self._closing.is_set() and self._queue.empty()):
                batch = [self._queue.get()]
                # Not at once: who sends one request after the other sends the next one now, and each update would
                # keep the interpreter from it for a trip to the server and back.
                self._closing.wait(self.PAUSE)
                while not self._queue.empty():
                    batch.append(self._queue.get())
                self._tell([entry for entry in batch if entry is not None])
        except BridgeError as err:
            self._unavailable(str(err))
        finally:
            self._dead = True
            self._series.clear()  # in this thread, as everything that touches Triton's metrics

    def _prepare(self) -> None:
        for definition in (metrics.RESPONSES, metrics.TOKENS, metrics.IN_FLIGHT, *self._engine):
            self._series[definition.name] = self._register(definition, {})
        self._requests("success")

    def _requests(self, outcome: str) -> Series:
        key = f"{metrics.REQUESTS.name} {outcome}"
        if key not in self._series:
            self._series[key] = self._register(metrics.REQUESTS, {"outcome": outcome})
        return self._series[key]

    def _tell(self, ended: Sequence[Ended]) -> None:
        self._series[metrics.IN_FLIGHT.name].set(self._in_flight())
        for outcome, count in Counter(entry.outcome for entry in ended).items():
            self._requests(outcome).increment(count)
        self._add(metrics.RESPONSES, sum(entry.responses for entry in ended))
        self._add(metrics.TOKENS, sum(entry.tokens for entry in ended))
        if not self._engine:
            return
        answered = [entry for entry in ended if entry.outcome == "success"]
        self._add(metrics.PROMPT_TOKENS, sum(entry.prompt_tokens for entry in answered))
        self._add(metrics.GENERATION_TOKENS, sum(entry.tokens for entry in answered))
        for name, values in observations(answered[: self.TIMED_AT_ONCE]).items():
            for value in values:
                self._series[name].observe(value)

    def _add(self, definition: Definition, amount: int) -> None:
        if amount:
            self._series[definition.name].increment(amount)


def observations(ended: Iterable[Ended]) -> Mapping[str, list[float]]:
    """Return the values for each of NVIDIA's histograms: one per request, and one per gap between two tokens."""
    values: dict[str, list[float]] = {
        definition.name: []
        for definition in (
            *(metrics.TTFT, metrics.TPOT, metrics.LATENCY),
            *(metrics.PROMPT_LENGTHS, metrics.ANSWER_LENGTHS, metrics.CHOICES),
        )
    }
    for entry in ended:
        timing = entry.timing
        if timing.first is not None:
            values[metrics.TTFT.name].append(timing.first - timing.started)
        values[metrics.TPOT.name].extend(gap for gap, count in timing.gaps for _ in range(count))
        values[metrics.LATENCY.name].append(entry.seconds)
        values[metrics.PROMPT_LENGTHS.name].append(float(entry.prompt_tokens))
        values[metrics.ANSWER_LENGTHS.name].append(float(entry.tokens))
        values[metrics.CHOICES.name].append(float(entry.choices))
    return values
