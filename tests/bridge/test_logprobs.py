"""Log probabilities: ranks from order, texts from the engine's tokenizer."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tritonfleet.bridge.failure import BridgeError
from tritonfleet.bridge.logprobs import ChoiceLogprobs, TokenTexts, ranked, token_id


def names(values: dict[int, float]) -> dict[str, float]:
    """Write token ids as the API does."""
    return {f"token_id:{identity}": value for identity, value in values.items()}


def test_ranks_follow_the_probabilities() -> None:
    """The chosen token comes first, then the likeliest."""
    top = names({7: -2.0, 3: -0.1, 9: -1.0})
    assert ranked(7, -2.0, top, 3) == [(7, -2.0, 3), (3, -0.1, 1), (9, -1.0, 2)]
    assert ranked(7, -2.0, top, 2) == [(7, -2.0, 3), (3, -0.1, 1), (9, -1.0, 2)]
    assert ranked(3, -0.1, top, 1) == [(3, -0.1, 1)]
    assert ranked(7, -2.0, top, 0) == [(7, -2.0, 3)]
    assert ranked(7, -2.0, None, 2) == [(7, -2.0, 1)]


@given(st.dictionaries(st.integers(0, 99), st.floats(-50, 0), min_size=1, max_size=8), st.data(), st.integers(-1, 8))
def test_there_is_never_more_than_was_asked_for(top: dict[int, float], data: st.DataObject, wanted: int) -> None:
    """At most one entry more than wanted, the chosen one first, and one of rank 1 where any is wanted."""
    chosen = data.draw(st.sampled_from(sorted(top)))
    entries = ranked(chosen, top[chosen], names(top), wanted)
    assert entries[0][0] == chosen
    assert len({identity for identity, _, _ in entries}) == len(entries) == len({rank for _, _, rank in entries})
    assert wanted < 0 or len(entries) <= wanted + 1
    assert wanted == 0 or sum(rank == 1 for _, _, rank in entries) == 1


def test_names_that_are_no_ids_are_an_error() -> None:
    """An engine that ignores return_tokens_as_token_ids cannot be served."""
    with pytest.raises(BridgeError, match="instead of its id"):
        token_id(" the")


class Pieces:
    """A tokenizer whose tokens are pieces of bytes; decoding replaces what is no complete character, as all do."""

    def __init__(self, pieces: Sequence[bytes] = ()) -> None:
        self.vocabulary = list(dict.fromkeys([*(bytes([number]) for number in range(256)), *pieces]))
        self.calls: list[tuple[int, ...]] = []

    async def decode(self, ids: Sequence[int]) -> str:
        """Return the text of the tokens."""
        self.calls.append(tuple(ids))
        return b"".join(self.vocabulary[identity] for identity in ids).decode("utf-8", "replace")


@given(
    st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\ufffd"), max_size=20),
    st.lists(st.integers(0, 80)),
)
async def test_decoded_tokens_join_to_the_text(text: str, cuts: list[int]) -> None:
    """Wherever tokens cut the characters; and each text is asked for once."""
    data = text.encode()
    ends = sorted({cut for cut in cuts if 0 < cut < len(data)} | {len(data)})
    pieces = [data[start:end] for start, end in zip([0, *ends], ends, strict=False) if start < end]
    tokenizer = Pieces(pieces)
    texts = TokenTexts(tokenizer.decode)
    ids = [tokenizer.vocabulary.index(piece) for piece in pieces]
    parts = [await texts.text(identity, ids[:position]) for position, identity in enumerate(ids)]
    assert "".join(parts) == text
    assert len(tokenizer.calls) == len(set(tokenizer.calls))


async def test_rendering_an_event() -> None:
    """One object per token: id to logprob, rank and text."""
    choice = ChoiceLogprobs(TokenTexts(Pieces().decode), wanted=1)
    head, tail = "é".encode()
    event = {
        "tokens": ["token_id:65", f"token_id:{head}", f"token_id:{tail}"],
        "token_logprobs": [-0.5, -1.0, -1.5],
        "top_logprobs": [names({65: -0.5}), names({head: -1.0, 66: -0.2}), names({tail: -1.5})],
    }
    assert await choice.render(event) == [
        {"65": {"logprob": -0.5, "rank": 1, "decoded_token": "A"}},
        {
            str(head): {"logprob": -1.0, "rank": 2, "decoded_token": ""},
            "66": {"logprob": -0.2, "rank": 1, "decoded_token": "B"},
        },
        {str(tail): {"logprob": -1.5, "rank": 1, "decoded_token": "é"}},
    ]
