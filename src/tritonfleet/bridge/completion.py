"""The body of a request to an engine's OpenAI API. Pure."""

from __future__ import annotations

from typing import Any

from tritonfleet.bridge.failure import Unsupported
from tritonfleet.bridge.generation import Embedding, Generation
from tritonfleet.wire import Route

#: Engines that take vLLM's own fields.
_VLLM = frozenset({"vllm", "fake"})
#: Engines that can tell the token counts with every event.
_CONTINUOUS_USAGE = _VLLM | {"sglang", "tensorrt-llm"}
#: Engines whose requests have a `priority` field.
_PRIORITY = _VLLM | {"sglang"}

#: NVIDIA's backend builds SamplingParams itself, so the defaults are vLLM's and never those of the model's
#: generation_config.json, which vLLM's server would fill in for fields that are absent.
_DEFAULTS: dict[str, Any] = {"max_tokens": 16, "temperature": 1.0, "top_p": 1.0}
_VLLM_DEFAULTS: dict[str, Any] = {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}


def completion_body(
    request: Generation, route: Route, *, stream: bool, count_tokens: bool, stream_interval: int = 1
) -> dict[str, Any]:
    """Return the ``/v1/completions`` body for *request*.

    *stream* is how the engine answers, which may differ from how the client is answered; *count_tokens* asks for
    token counts with every event; *stream_interval* lets the engine join so many tokens, unless the client says how
    many. Raises Unsupported for what the engine cannot tell.
    """
    vllm = route.engine in _VLLM
    body: dict[str, Any] = {
        "model": request.lora or route.served_name,
        "prompt": request.prompt,
        **_DEFAULTS,
        **(_VLLM_DEFAULTS if vllm else {}),
        **request.sampling,
    }
    if request.n != 1:
        body["n"] = request.n
    logprobs = asked_logprobs(request)
    if logprobs is not None:
        body["logprobs"] = logprobs
        if request.outputs.logprobs:
            if not vllm:
                raise Unsupported(f"return_logprobs: the engine {route.engine} does not tell token ids")
            body["return_tokens_as_token_ids"] = True
    if request.priority is not None and route.engine in _PRIORITY:
        body["priority"] = request.priority
    if stream:
        body["stream"] = True
        body["stream_options"] = {"include_usage": True}
        if stream_interval > 1:
            body.setdefault("stream_interval", stream_interval)
        if count_tokens and route.engine in _CONTINUOUS_USAGE:
            body["stream_options"]["continuous_usage_stats"] = True
    elif count_tokens and request.n > 1 and vllm:
        body["return_token_ids"] = True  # `usage` holds only the sum over the choices
    return body


def must_stream(request: Generation, route: Route) -> bool:
    """Whether the engine must answer in events, be it only to count each choice's tokens."""
    return request.stream or (request.outputs.num_output_tokens and request.n > 1 and route.engine not in _VLLM)


def asked_logprobs(request: Generation) -> int | None:
    """Return how many log probabilities to ask the engine for; None for none.

    At least one, because that tells whether the chosen token was the likeliest.
    """
    if request.outputs.logprobs and request.logprobs is not None:
        return request.logprobs if request.logprobs < 0 else max(1, request.logprobs)
    return 1 if request.outputs.cumulative_logprob else None


def embedding_body(request: Embedding, route: Route) -> dict[str, Any]:
    """Return the ``/v1/embeddings`` body for *request*."""
    body: dict[str, Any] = {"model": route.served_name, "input": request.input, "encoding_format": "float"}
    if request.dimensions is not None:
        body["dimensions"] = request.dimensions
    return body
