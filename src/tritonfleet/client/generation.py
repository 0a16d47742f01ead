"""An answer put together from its chunks, with the times at which they came."""

from __future__ import annotations

from dataclasses import dataclass, field

from tritonfleet.client.messages import Chunk


@dataclass(frozen=True)
class Timing:
    """Times of one request in seconds, counted from the moment it was sent."""

    latency_seconds: float
    """Until the last response, or until the request failed."""
    ttft_seconds: float | None = None
    """Time to first token; None unless the answer was streamed, since a whole answer does not show it."""


@dataclass(frozen=True)
class Generation:
    """What a model answered to one prompt; parts of it where the request failed half-way."""

    texts: tuple[str, ...]
    """The answer, one text for each choice."""
    timing: Timing
    output_tokens: int | None = None
    """Generated tokens over all choices; None if the model does not count them."""
    input_tokens: int | None = None
    finish_reasons: tuple[str | None, ...] = ()

    @property
    def text(self) -> str:
        """The first choice."""
        return self.texts[0] if self.texts else ""

    @property
    def tokens_per_second(self) -> float | None:
        """Generated tokens over the request's own latency."""
        if not self.output_tokens or self.timing.latency_seconds <= 0:
            return None
        return self.output_tokens / self.timing.latency_seconds

    @property
    def tpot_seconds(self) -> float | None:
        """Time per output token after the first (TPOT); None where fewer than two tokens were seen."""
        ttft = self.timing.ttft_seconds
        if ttft is None or not self.output_tokens or self.output_tokens < 2:
            return None
        return (self.timing.latency_seconds - ttft) / (self.output_tokens - 1)


@dataclass
class Recorder:
    """Collects the chunks of one request; *sent* and every *at* are readings of one clock in seconds."""

    sent: float
    streaming: bool
    _texts: list[list[str]] = field(default_factory=list)
    _reasons: list[str | None] = field(default_factory=list)
    _output_tokens: int | None = None
    _input_tokens: int | None = None
    _first: float | None = None

    def add(self, chunk: Chunk, at: float) -> None:
        """Take the next chunk."""
        for choice, text in enumerate(chunk.texts):
            if choice == len(self._texts):
                self._texts.append([])
                self._reasons.append(None)
            self._texts[choice].append(text)
        for choice, reason in enumerate(chunk.finish_reasons[: len(self._reasons)]):
            self._reasons[choice] = reason or self._reasons[choice]
        if chunk.output_tokens is not None:
            self._output_tokens = (self._output_tokens or 0) + sum(chunk.output_tokens)
        if chunk.input_tokens is not None:
            self._input_tokens = chunk.input_tokens
        if self._first is None and _holds_a_token(chunk):
            self._first = at

    def finish(self, at: float) -> Generation:
        """Return what was collected; *at* is when the last response came or the request failed."""
        ttft = self._first - self.sent if self.streaming and self._first is not None else None
        return Generation(
            texts=tuple("".join(parts) for parts in self._texts),
            timing=Timing(at - self.sent, ttft),
            output_tokens=self._output_tokens,
            input_tokens=self._input_tokens,
            finish_reasons=tuple(self._reasons),
        )


def _holds_a_token(chunk: Chunk) -> bool:
    """A token's text can be empty: the first bytes of a character that needs several tokens."""
    return any(chunk.output_tokens) if chunk.output_tokens is not None else bool(chunk.texts)
