"""How long a token may wait for others when the machine's cores are short. Pure.

Every event costs CPU time in the engine's API server, every response in the bridge, in Triton and in the client:
together about as much as the token itself where a small model runs on few cores. So with many streams per core tokens
are joined, the longer the more streams share a core, and never so long that text stops looking typed. A stream alone,
or a server with cores to spare, gets every token as it comes.
"""

from __future__ import annotations

#: Streams per core up to which every token is an event of its own.
STREAMS_PER_CORE = 3
#: Time that a token may wait for others, for each stream that shares its core (seconds).
HOLD_PER_STREAM_SECONDS = 0.008
#: Longest time that a token waits (seconds): 16 events a second and stream.
HOLD_SECONDS = 0.06
#: Weight of the newest time per token in the running mean.
_WEIGHT = 0.1
#: vLLM's releases whose requests have `stream_interval`.
FIRST_RELEASE = (0, 32)


class Pace:
    """Watches the time per token of all streams of a model."""

    def __init__(self, cores: int) -> None:
        self._cores = cores
        self._token_seconds: float | None = None

    def saw(self, seconds_per_token: float) -> None:
        """Note a stream's mean time per token."""
        known = self._token_seconds
        self._token_seconds = seconds_per_token if known is None else known + _WEIGHT * (seconds_per_token - known)

    def hold_seconds(self, streams: int) -> float:
        """Return how long a token may wait for others with *streams* in flight; 0 for not at all."""
        per_core = streams / self._cores
        if per_core <= STREAMS_PER_CORE:
            return 0.0
        return min(HOLD_SECONDS, HOLD_PER_STREAM_SECONDS * per_core)

    def interval(self, streams: int) -> int:
        """Return how many tokens the engine may put into one event of a new stream."""
        return max(1, int(self.hold_seconds(streams) / self._token_seconds)) if self._token_seconds else 1


def takes_interval(engine: str, version: str) -> bool:
    """Whether the engine's requests have `stream_interval`; *version* is the engine's own word."""
    try:
        release = tuple(int(part) for part in version.split(".")[:2])
    except ValueError:
        return False
    return engine == "vllm" and release >= FIRST_RELEASE
