"""An answer while it grows: takes the engine's events, gives out what the client has not seen yet. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tritonfleet.bridge.failure import BridgeError
from tritonfleet.bridge.generation import Generation


@dataclass(slots=True)
class Choice:
    """One of the ``n`` texts."""

    text: str = ""
    """Not given out yet; with a cumulative answer, everything."""
    finish_reason: str | None = None
    tokens: int = 0
    """Generated so far."""
    tokens_given: int = 0
    cumulative_logprob: float | None = None
    logprobs: list[dict[str, Any]] = field(default_factory=list)
    """Rendered and not given out yet, one per token."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What one response to the client holds; each tuple has one element per choice."""

    texts: tuple[str, ...]
    finish_reasons: tuple[str, ...]
    """``None`` as a text while a choice goes on, as NVIDIA's backend writes it."""
    cumulative_logprobs: tuple[float | None, ...]
    logprobs: tuple[list[dict[str, Any]], ...]
    tokens: tuple[int, ...]
    """Generated since the piece before."""
    prompt_tokens: int
    final: bool


class Answer:
    """Collects one request's events."""

    def __init__(self, request: Generation) -> None:
        self._cumulative = request.cumulative
        self.choices = [Choice(text=request.prompt if request.echo else "") for _ in range(request.n)]
        self.prompt_tokens = 0
        self.finished = False
        """Whether every choice has ended."""
        self.news = False
        """Whether there is something to tell: new text, or the end."""
        self._running = request.n
        self._total: int | None = None

    @property
    def tokens(self) -> int:
        """Generated tokens of all choices so far."""
        return self._total if self._total is not None else sum(choice.tokens for choice in self.choices)

    def take(self, event: Mapping[str, Any], logprobs: Mapping[int, Sequence[dict[str, Any]]] | None = None) -> None:
        """Add one event of the engine, and the rendered log probabilities of its choices.

        Raises BridgeError if it is not an event of the completions API.
        """
        try:
            usage = event.get("usage")
            choices = event["choices"]
            for entry in choices:
                self._take_choice(entry, usage if len(choices) == 1 else None)
            if usage is not None:
                self.prompt_tokens = usage.get("prompt_tokens") or self.prompt_tokens
                if not choices or len(choices) == len(self.choices):
                    self._total = usage.get("completion_tokens")
        except (KeyError, IndexError, TypeError, AttributeError) as err:
            raise BridgeError(f"the engine sent an event that is no completion ({type(err).__name__}: {err})") from err
        for index, rendered in (logprobs or {}).items():
            self.choices[index].logprobs.extend(rendered)

    def end(self) -> None:
        """The engine said that there is nothing more."""
        self.finished = self.news = True

    def pull(self) -> Piece:
        """Return what is new since the last time."""
        choices = self.choices
        piece = Piece(
            texts=tuple([choice.text for choice in choices]),
            finish_reasons=tuple([str(choice.finish_reason) for choice in choices]),
            cumulative_logprobs=tuple([choice.cumulative_logprob for choice in choices]),
            logprobs=tuple([choice.logprobs for choice in choices]),
            tokens=tuple([choice.tokens - choice.tokens_given for choice in choices]),
            prompt_tokens=self.prompt_tokens,
            final=self.finished,
        )
        self.news = self.finished
        for choice in choices:
            choice.tokens_given = choice.tokens
            if not self._cumulative:
                choice.text = ""
            if choice.logprobs:
                choice.logprobs = []
        return piece

    def _take_choice(self, entry: Mapping[str, Any], usage: Mapping[str, Any] | None) -> None:
        choice = self.choices[entry["index"]]
        text = entry["text"]
        if text:
            choice.text += text
            self.news = True
        ids = entry.get("token_ids")
        if usage is not None:
            choice.tokens = usage["completion_tokens"]
        elif ids is not None:
            choice.tokens += len(ids)
        elif text:
            # An engine that does not count as it goes sends one event a token.
            choice.tokens += 1
        logprobs = entry.get("logprobs")
        if logprobs is not None:
            choice.cumulative_logprob = (choice.cumulative_logprob or 0.0) + sum(
                value for value in logprobs["token_logprobs"] if value is not None
            )
        reason = entry.get("finish_reason")
        if reason is not None and choice.finish_reason is None:
            choice.finish_reason = reason
            self._running -= 1
            self.finished = self._running == 0
            self.news = self.news or self.finished
