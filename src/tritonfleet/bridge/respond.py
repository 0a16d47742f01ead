"""A piece of an answer as the output tensors of a response. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tritonfleet.bridge import codec
from tritonfleet.bridge.answer import Piece
from tritonfleet.bridge.generation import Generation, Outputs

#: Names and arrays of a response's outputs.
Tensors = list[tuple[str, "np.ndarray[Any, Any]"]]


def response_tensors(piece: Piece, request: Generation) -> Tensors:
    """Return the outputs that *request* asked for, filled from *piece*."""
    if request.cumulative:
        return [("TEXT", strings(piece.texts))]
    tensors: Tensors = [("text_output", strings(piece.texts))]
    outputs = request.outputs
    if outputs.finish_reason:
        tensors.append(("finish_reason", strings(piece.finish_reasons)))
    if outputs.cumulative_logprob:
        values = [np.nan if value is None else value for value in piece.cumulative_logprobs]
        tensors.append(("cumulative_logprob", np.array(values, dtype=np.float32)))
    if outputs.logprobs:
        tensors.append(("logprobs", _logprobs(piece, asked=request.logprobs is not None)))
    if outputs.num_input_tokens:
        tensors.append(("num_input_tokens", np.asarray(piece.prompt_tokens, dtype=np.uint32)))
    if outputs.num_output_tokens:
        tensors.append(("num_output_tokens", np.array(piece.tokens, dtype=np.uint32)))
    return tensors


def embedding_tensors(vector: Sequence[float], prompt_tokens: int, outputs: Outputs) -> Tensors:
    """Return the outputs of an embedding: the vector as JSON text, and the counts that were asked for."""
    tensors: Tensors = [("text_output", strings((codec.dumps(vector).decode(),)))]
    if outputs.num_input_tokens:
        tensors.append(("num_input_tokens", np.asarray(prompt_tokens, dtype=np.uint32)))
    if outputs.num_output_tokens:
        tensors.append(("num_output_tokens", np.asarray(0, dtype=np.uint32)))
    return tensors


def strings(texts: Sequence[str]) -> np.ndarray[Any, Any]:
    """Return a STRING tensor of *texts* in UTF-8."""
    return np.array([text.encode("utf-8", "replace") for text in texts], dtype=np.object_)


def _logprobs(piece: Piece, *, asked: bool) -> np.ndarray[Any, Any]:
    if not asked:
        return strings(("null",) * len(piece.texts))
    return strings([codec.dumps(entries).decode() for entries in piece.logprobs])
