"""Inputs and outputs of a model with ``backend: "vllm"``: NVIDIA's vllm_backend, and the AI on EKS blueprint's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

TensorType = Literal["TYPE_STRING", "TYPE_BOOL", "TYPE_FP32", "TYPE_UINT32"]


@dataclass(frozen=True)
class Tensor:
    """One input or output."""

    name: str
    type: TensorType
    dim: int
    """Length of its only dimension; -1 is any."""


#: NVIDIA's first, then the blueprint's. All are optional: a request carries ``text_input`` or ``PROMPT``.
INPUTS = (
    Tensor("text_input", "TYPE_STRING", 1),
    Tensor("image", "TYPE_STRING", -1),
    Tensor("stream", "TYPE_BOOL", 1),
    Tensor("sampling_parameters", "TYPE_STRING", 1),
    Tensor("exclude_input_in_output", "TYPE_BOOL", 1),
    Tensor("return_finish_reason", "TYPE_BOOL", 1),
    Tensor("return_cumulative_logprob", "TYPE_BOOL", 1),
    Tensor("return_logprobs", "TYPE_BOOL", 1),
    Tensor("return_num_input_tokens", "TYPE_BOOL", 1),
    Tensor("return_num_output_tokens", "TYPE_BOOL", 1),
    Tensor("embedding_request", "TYPE_STRING", 1),
    Tensor("PROMPT", "TYPE_STRING", 1),
    Tensor("STREAM", "TYPE_BOOL", 1),
    Tensor("SAMPLING_PARAMETERS", "TYPE_STRING", 1),
)

OUTPUTS = (
    Tensor("text_output", "TYPE_STRING", -1),
    Tensor("finish_reason", "TYPE_STRING", -1),
    Tensor("cumulative_logprob", "TYPE_FP32", -1),
    Tensor("logprobs", "TYPE_STRING", -1),
    Tensor("num_input_tokens", "TYPE_UINT32", 1),
    Tensor("num_output_tokens", "TYPE_UINT32", -1),
    Tensor("TEXT", "TYPE_STRING", -1),
)
