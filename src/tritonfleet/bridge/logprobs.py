"""Log probabilities in the form of NVIDIA's backend, made from those of the OpenAI API.

NVIDIA's form names tokens by id and tells rank and text of each. The API tells either ids or texts, so the bridge asks
for ids and learns each token's text once from the engine's ``/detokenize``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from tritonfleet.bridge.failure import BridgeError

#: A token's text by its id.
Decode = Callable[[Sequence[int]], Awaitable[str]]

_PREFIX = "token_id:"
#: Stands for bytes that are no complete character.
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
#: A UTF-8 character has at most four bytes, so at most this many tokens before belong to it.
_CONTEXT = 4
#: Texts that are kept: more than the largest vocabulary, and less than memory is worth.
_KEPT = 400_000


def token_id(name: str) -> int:
    """Return the id in a token written as ``token_id:N``; raise BridgeError if it is not written so."""
    if not name.startswith(_PREFIX):
        raise BridgeError(f"the engine named the token {name[:40]!r} instead of its id")
    return int(name[len(_PREFIX) :])


def ranked(
    chosen: int, chosen_logprob: float, top: Mapping[str, float] | None, wanted: int
) -> list[tuple[int, float, int]]:
    """Return id, log probability and rank of the *chosen* token and of the *wanted* likeliest; -1 wants all.

    A chosen token outside of *top* gets the best rank that it can have: the API does not tell the true one.
    """
    # vLLM lists the chosen token beside the likeliest, so outside of them it comes last.
    others = sorted(((token_id(name), value) for name, value in (top or {}).items()), key=lambda entry: -entry[1])
    entries = [(identity, value, rank) for rank, (identity, value) in enumerate(others, start=1)]
    own = next((entry for entry in entries if entry[0] == chosen), (chosen, chosen_logprob, len(entries) + 1))
    return [own, *(entry for entry in entries if entry[0] != chosen and (wanted < 0 or entry[2] <= wanted))]


class TokenTexts:
    """Texts of tokens, learnt from the engine and kept."""

    def __init__(self, decode: Decode) -> None:
        self._decode = decode
        self._known: dict[tuple[int, ...], str] = {}

    async def learn(self, identities: Iterable[int]) -> None:
        """Ask for the texts of these tokens side by side, so that ``text`` finds them."""
        await asyncio.gather(*{identity: self._of((identity,)) for identity in identities}.values())

    async def text(self, identity: int, before: Sequence[int]) -> str:
        """Return the text that token *identity* adds after the tokens *before*.

        A token that ends inside a character adds nothing of it; the one that completes it adds the whole character.
        """
        alone = await self._of((identity,))
        if _REPLACEMENT not in alone:
            return alone
        context = tuple(before[-_CONTEXT:])
        sure = (await self._of(context)).rstrip(_REPLACEMENT) if context else ""
        whole = (await self._of((*context, identity))).rstrip(_REPLACEMENT)
        return whole.removeprefix(sure)

    async def _of(self, ids: tuple[int, ...]) -> str:
        text = self._known.get(ids)
        if text is None:
            text = await self._decode(ids)
            if len(self._known) >= _KEPT:
                self._known.clear()
            self._known[ids] = text
        return text


class ChoiceLogprobs:
    """Turns one choice's log probabilities, event by event, into NVIDIA's form."""

    def __init__(self, texts: TokenTexts, wanted: int) -> None:
        self._texts = texts
        self._wanted = wanted
        self._before: list[int] = []

    async def render(self, logprobs: Mapping[str, Any]) -> list[dict[str, dict[str, Any]]]:
        """Return one object per token of an event's ``logprobs``: id to ``logprob``, ``rank`` and ``decoded_token``."""
        steps = [
            (token_id(name), ranked(token_id(name), value, top, self._wanted))
            for name, value, top in zip(
                logprobs["tokens"], logprobs["token_logprobs"], logprobs["top_logprobs"], strict=True
            )
        ]
        await self._texts.learn(identity for _, entries in steps for identity, _, _ in entries)
        rendered = []
        for chosen, entries in steps:
            rendered.append({str(entry[0]): await self._entry(*entry) for entry in entries})
            self._before = [*self._before[1 - _CONTEXT :], chosen]
        return rendered

    async def _entry(self, identity: int, logprob: float, rank: int) -> dict[str, Any]:
        text = await self._texts.text(identity, self._before)
        return {"logprob": logprob, "rank": rank, "decoded_token": text}
