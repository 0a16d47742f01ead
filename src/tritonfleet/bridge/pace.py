"""How many tokens the engine may put into one event when the machine's cores are short. Pure.

Every event costs CPU time in the engine's API server, in the bridge, in Triton and in the client: together about as
much as the token itself where a small model runs on few cores. So with many streams per core, new requests ask the
engine to join tokens, for no longer than an eye notices. A stream alone, or a server with cores to spare, gets every
token as it comes.
"""

from __future__ import annotations

#: Streams per core up to which every token is an event of its own.
STREAMS_PER_CORE = 3
#: Longest time that a token waits for others (seconds): 33 events a second and stream still look like typing.
HOLD_SECONDS = 0.03
#: Weight of the newest gap between two tokens in the running mean.
_WEIGHT = 0.05
#: vLLM's releases whose requests have `stream_interval`.
FIRST_RELEASE = (0, 32)


class Pace:
    """Watches the time per token of all streams of a model."""

    def __init__(self, cores: int) -> None:
        self._enough = STREAMS_PER_CORE * cores
        self._token_seconds: float | None = None

    def saw(self, seconds_per_token: float) -> None:
        """Note the time between two tokens of a stream."""
        known = self._token_seconds
        self._token_seconds = seconds_per_token if known is None else known + _WEIGHT * (seconds_per_token - known)

    def interval(self, streams: int) -> int:
        """Return how many tokens an event of a new stream may hold, with *streams* in flight."""
        if streams <= self._enough or not self._token_seconds:
            return 1
        return max(1, int(HOLD_SECONDS / self._token_seconds))


def takes_interval(engine: str, version: str) -> bool:
    """Whether the engine's requests have `stream_interval`; *version* is the engine's own word."""
    try:
        release = tuple(int(part) for part in version.split(".")[:2])
    except ValueError:
        return False
    return engine == "vllm" and release >= FIRST_RELEASE
