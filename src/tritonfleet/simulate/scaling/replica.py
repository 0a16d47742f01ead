"""One replica in the simulation: an engine, and the pod around it that comes and goes. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from tritonfleet.simulate.engine import Engine, Flight, Speed

#: Time in which Triton hands a request over to the bridge. That is all that Triton's queue ever holds: 0.39 ms of queue
#: time a second were measured at 5 requests a second.
HAND_OFF_SECONDS = 0.39e-3 / 5


@dataclass(slots=True, eq=False)
class Replica:
    """A pod, from the moment in which it is asked for; times in seconds of the trace."""

    speed: Speed
    asked_at: float
    """It costs from here on."""
    ready_at: float
    draining: bool = False
    """It takes no new requests."""
    triton_queue_seconds: float = 0.0
    """Time that requests have spent in Triton's queue: what nv_inference_queue_duration_us counts."""
    tokens: int = 0
    """Prompt and output tokens of all requests in flight."""
    _hand_off_free_at: float = 0.0
    engine: Engine = field(init=False)

    def __post_init__(self) -> None:
        self.engine = Engine("replica", self.speed)

    @property
    def in_flight(self) -> int:
        """Requests that it has taken on and not answered."""
        return self.engine.load

    @property
    def kv_cache_usage(self) -> float:
        """Share of the KV cache that its requests need, at most 1."""
        return min(1.0, self.tokens / self.speed.kv_tokens)

    def take(self, flight: Flight, now: float) -> None:
        """Take a request on."""
        handed = max(now, self._hand_off_free_at) + HAND_OFF_SECONDS
        self.triton_queue_seconds += handed - now
        self._hand_off_free_at = handed
        self.tokens += _size(flight)
        self.engine.add(flight, now)

    def finish(self, now: float) -> list[Flight]:
        """Do what the engine has to do at *now*, its next event; return the requests that are answered."""
        ended = self.engine.finish(now)
        self.tokens -= sum(map(_size, ended))
        return ended


def _size(flight: Flight) -> int:
    return flight.request.prompt_tokens + flight.request.output_tokens
