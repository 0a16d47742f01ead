"""What a client asks and what comes back, apart from any protocol."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: Optional boolean inputs of the model interface, each of which makes the model send the output beside it.
EXTRA_OUTPUTS: Mapping[str, str] = {
    "return_finish_reason": "finish_reason",
    "return_num_input_tokens": "num_input_tokens",
    "return_num_output_tokens": "num_output_tokens",
}


@dataclass(frozen=True)
class GenerateRequest:
    """One prompt for one model."""

    model: str
    """Name of the model in Triton."""
    prompt: str
    """Text as the engine's tokenizer gets it: a chat template is applied already."""
    sampling: Mapping[str, Any] = field(default_factory=dict)
    """Sampling parameters by vLLM's names; ``lora_name`` picks an adapter."""
    stream: bool = False
    """Ask for the answer piece by piece."""
    request_id: str = ""
    """Shown in the server's logs; sent over gRPC only, where it cannot be mistaken for a parameter."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """One response of the model; tuples have one element for each choice (``n``)."""

    texts: tuple[str, ...]
    """New text since the chunk before."""
    output_tokens: tuple[int, ...] | None = None
    """New tokens since the chunk before; None if the model does not count them."""
    input_tokens: int | None = None
    """Tokens of the prompt."""
    finish_reasons: tuple[str | None, ...] = ()
    """``stop`` or ``length`` in a choice's last chunk, else None."""


@dataclass(frozen=True)
class IndexEntry:
    """A line of Triton's repository index."""

    name: str
    state: str
    """``READY``, ``LOADING``, ``UNLOADING``, ``UNAVAILABLE``, or empty for a model that was never loaded."""
    reason: str = ""


@dataclass(frozen=True)
class ModelInfo:
    """What the client needs to know of a model's config."""

    name: str
    inputs: frozenset[str]
    """Names of its input tensors."""
    parameters: Mapping[str, str]
    """The config's parameters."""
