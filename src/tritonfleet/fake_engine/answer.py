"""What the fake engine answers: a pure function of the request, one token at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Literal

from tritonfleet.fake_engine.request import GenerationRequest, Prompt
from tritonfleet.fake_engine.vocabulary import END, Vocabulary

FinishReason = Literal["stop", "length", "abort"]

#: Log probability of the token that was chosen; alternative number i has CHOSEN - i.
CHOSEN = -0.125


@dataclass(frozen=True)
class Step:
    """What one step of the engine adds to an answer."""

    text: str
    """New text; it may lag behind the tokens while the start of a stop string is held back."""
    token: str
    token_id: int | None
    """None: no token was generated."""
    finish_reason: FinishReason | None = None
    stop_reason: str | int | None = None


def answer_length(request: GenerationRequest, prompt: Prompt, answer_tokens: int | None) -> int:
    """Return the number of tokens after which an answer ends by itself."""
    return max(answer_tokens or len(prompt.echoed), request.min_tokens, 1)


def answer(
    request: GenerationRequest,
    prompt: Prompt,
    choice: int,
    vocabulary: Vocabulary,
    *,
    answer_tokens: int | None,
    room: int,
) -> Iterator[Step]:
    """Yield the steps of one choice: the prompt's own tokens in a circle, from token number seed + choice on.

    The answer ends with an END token after its natural length (never with ignore_eos), and is cut by a stop string,
    by max_tokens, or by *room*, the tokens left in the context.
    """
    if request.max_tokens == 0:  # only with echo: the prompt alone was asked for
        yield Step("", "", None, "length")
        return
    source = prompt.echoed or ("ok",)
    natural = None if request.ignore_eos else answer_length(request, prompt, answer_tokens)
    limit = room if request.max_tokens is None else min(request.max_tokens, room)
    held = _HeldBack(request.stop, request.include_stop)
    for number in count():
        if number == natural:
            yield Step(held.rest(), "", END, "stop")
            return
        position = (request.seed + choice + number) % len(source)
        token = source[position]
        if number == 0:
            token = token.lstrip() or token
        elif position == 0 and not token[0].isspace():
            token = f" {token}"  # the prompt begins again
        identity = vocabulary.id_of(token)
        early = number + 1 < request.min_tokens
        if identity in request.stop_token_ids and not early:
            yield Step(held.rest(), token, identity, "stop", identity)
            return
        text, stopped = held.push(token, watch=not early)
        if stopped is not None:
            yield Step(text, token, identity, "stop", stopped)
            return
        if number + 1 >= limit:
            yield Step(text + held.rest(), token, identity, "length")
            return
        yield Step(text, token, identity)


class _HeldBack:
    """Lets text through except for an end that may be the beginning of a stop string."""

    def __init__(self, stops: tuple[str, ...], include_stop: bool) -> None:
        self._stops = stops
        self._include = include_stop
        self._keep = max(map(len, stops), default=1) - 1
        self._text = ""

    def push(self, text: str, *, watch: bool) -> tuple[str, str | None]:
        """Add *text*; return what may be shown now, and the stop string that was met."""
        self._text += text
        found = [(self._text.find(stop), stop) for stop in self._stops if stop in self._text] if watch else []
        if found:
            position, stop = min(found)
            return self._text[: position + (len(stop) if self._include else 0)], stop
        size = max(len(self._text) - self._keep, 0)
        shown, self._text = self._text[:size], self._text[size:]
        return shown, None

    def rest(self) -> str:
        """Return what is still held back; there is nothing to wait for any more."""
        shown, self._text = self._text, ""
        return shown


def alternatives(token: str, token_id: int, wanted: int, vocabulary: Vocabulary) -> list[tuple[str, int, float]]:
    """Return text, id and log probability of the chosen token and of *wanted* - 1 made-up others, likeliest first."""
    others = [f" other{number}" for number in range(1, wanted)]
    table = [(token or "</s>", token_id), *((text, vocabulary.id_of(text)) for text in others)]
    return [(text, identity, CHOSEN - rank) for rank, (text, identity) in enumerate(table)]
