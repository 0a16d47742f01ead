"""Answers while they grow: nothing is lost, doubled or put in another order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tritonfleet.bridge.answer import Answer, Piece
from tritonfleet.bridge.failure import BridgeError
from tritonfleet.bridge.generation import Generation, Outputs
from tritonfleet.bridge.respond import embedding_tensors, response_tensors


def event(index: int, text: str, reason: str | None = None, **fields: Any) -> dict[str, Any]:
    """Return one event of a stream."""
    return {"choices": [{"index": index, "text": text, "finish_reason": reason}], **fields}


def usage(prompt: int, completion: int) -> dict[str, int]:
    """Return the counts in an event."""
    return {"prompt_tokens": prompt, "completion_tokens": completion}


@given(st.data(), st.integers(1, 3), st.booleans(), st.booleans())
def test_pieces_add_up_to_the_engines_text(data: st.DataObject, n: int, echo: bool, cumulative: bool) -> None:
    """Wherever pieces are taken, their texts and counts together are the engine's, for every choice."""
    texts = data.draw(st.lists(st.lists(st.text(max_size=4), min_size=1, max_size=5), min_size=n, max_size=n))
    pending = [[(index, text) for text in parts] for index, parts in enumerate(texts)]
    answer = Answer(Generation("PROMPT", n=n, echo=echo, cumulative=cumulative))
    pieces: list[Piece] = []
    counts = [0] * n
    while any(pending):
        index = data.draw(st.sampled_from([index for index, parts in enumerate(pending) if parts]))
        _, text = pending[index].pop(0)
        counts[index] += 1
        answer.take(event(index, text, None if pending[index] else "stop", usage=usage(5, counts[index])))
        if data.draw(st.booleans()):
            pieces.append(answer.pull())
    if not (pieces and pieces[-1].final):
        pieces.append(answer.pull())
    wanted = [("PROMPT" if echo else "") + "".join(parts) for parts in texts]
    if cumulative:
        assert list(pieces[-1].texts) == wanted
    else:
        assert ["".join(piece.texts[index] for piece in pieces) for index in range(n)] == wanted
    assert [sum(piece.tokens[index] for piece in pieces) for index in range(n)] == counts
    assert [piece.final for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    assert pieces[-1].finish_reasons == ("stop",) * n
    assert pieces[-1].prompt_tokens == 5


def test_tokens_without_text_are_no_news() -> None:
    """A token that ends inside a character waits for the next; its count is not lost."""
    answer = Answer(Generation("x", stream=True))
    answer.take(event(0, "", usage=usage(1, 1)))
    assert not answer.news
    answer.take(event(0, "안", usage=usage(1, 2)))
    assert answer.news
    assert answer.pull().tokens == (2,)
    assert not answer.news


def test_the_end_is_news_even_without_text() -> None:
    """The final response must be sent."""
    answer = Answer(Generation("x", stream=True))
    answer.take(event(0, "", "stop"))
    assert answer.news
    assert answer.pull().final


def test_total_of_a_whole_answer_with_choices() -> None:
    """`usage` holds the sum over the choices, `token_ids` each one's tokens."""
    answer = Answer(Generation("x", n=2))
    choices = [{"index": i, "text": "t", "finish_reason": "length", "token_ids": list(range(i + 1))} for i in range(2)]
    answer.take({"choices": choices, "usage": usage(7, 3)})
    assert (answer.tokens, answer.pull().tokens) == (3, (1, 2))


def test_counting_without_help_of_the_engine() -> None:
    """An engine that tells no counts sends one event a token, and its total at the end."""
    answer = Answer(Generation("x", stream=True))
    for text in ("a", "b", ""):
        answer.take(event(0, text))
    assert answer.tokens == 2
    answer.take({"choices": [], "usage": usage(3, 4)})
    assert (answer.tokens, answer.prompt_tokens) == (4, 3)


@pytest.mark.parametrize(
    "broken", [{}, {"choices": 5}, {"choices": [{}]}, {"choices": [{"index": 4, "text": ""}]}, {"choices": [3]}]
)
def test_what_is_no_completion_is_an_error(broken: dict[str, Any]) -> None:
    """It is the engine's fault and must not end as a traceback."""
    with pytest.raises(BridgeError, match="no completion"):
        Answer(Generation("x")).take(broken)


def piece(**fields: Any) -> Piece:
    """Return a piece of one choice."""
    values: dict[str, Any] = {
        "texts": ("é",),
        "finish_reasons": ("None",),
        "cumulative_logprobs": (None,),
        "logprobs": ([{"5": {"logprob": -0.5, "rank": 1, "decoded_token": "é"}}],),
        "tokens": (1,),
        "prompt_tokens": 3,
        "final": False,
    }
    return Piece(**{**values, **fields})


def tensors(found: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return outputs by name, arrays as lists."""
    return {name: array.tolist() for name, array in found}


def test_only_the_outputs_that_were_asked_for() -> None:
    """Text always, the others by their flags."""
    assert tensors(response_tensors(piece(), Generation("x"))) == {"text_output": ["é".encode()]}
    assert tensors(response_tensors(piece(), Generation("x", cumulative=True))) == {"TEXT": ["é".encode()]}


def test_all_outputs_and_their_types() -> None:
    """Types and shapes are NVIDIA's: the prompt's count is a scalar, the others have one element per choice."""
    everything = Outputs(*(True,) * 5)
    found = dict(response_tensors(piece(), Generation("x", logprobs=0, outputs=everything)))
    assert {name: (array.dtype.name, array.shape) for name, array in found.items()} == {
        "text_output": ("object", (1,)),
        "finish_reason": ("object", (1,)),
        "cumulative_logprob": ("float32", (1,)),
        "logprobs": ("object", (1,)),
        "num_input_tokens": ("uint32", ()),
        "num_output_tokens": ("uint32", (1,)),
    }
    assert np.isnan(found["cumulative_logprob"][0])
    assert found["finish_reason"].tolist() == [b"None"]
    assert found["logprobs"].tolist()[0].decode() == '[{"5":{"logprob":-0.5,"rank":1,"decoded_token":"é"}}]'


def test_logprobs_that_were_not_sampled_are_null() -> None:
    """As NVIDIA's backend says it: the text `null`."""
    found = dict(response_tensors(piece(), Generation("x", outputs=Outputs(logprobs=True))))
    assert found["logprobs"].tolist() == [b"null"]


def test_embeddings_are_json_text() -> None:
    """With scalar counts, the output's being 0."""
    found = dict(embedding_tensors([0.5, -1.0], 4, Outputs(num_input_tokens=True, num_output_tokens=True)))
    assert tensors(list(found.items())) == {
        "text_output": [b"[0.5,-1.0]"],
        "num_input_tokens": 4,
        "num_output_tokens": 0,
    }
