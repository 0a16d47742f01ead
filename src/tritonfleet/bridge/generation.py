"""A request as the bridge understands it, read from Triton's tensors and parameters. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

from tritonfleet.bridge import codec
from tritonfleet.bridge.failure import InvalidRequest, Unsupported
from tritonfleet.bridge.sampling import read_sampling
from tritonfleet.bridge.trace import read_context
from tritonfleet.wire import Route

#: What NVIDIA's backend says, its tests compare it.
STREAM_WITH_ECHO = "Error generating stream: When streaming, `exclude_input_in_output` = False is not allowed."

#: Request parameters that belong to Triton, not to the sampling: KServe's own, and what its HTTP front adds.
_RESERVED = frozenset({"id", "priority", "timeout", "binary_data_output", "headers", "traceparent"})
_RESERVED_PREFIXES = ("triton_", "sequence_")


class _Names(NamedTuple):
    prompt: str
    stream: str
    sampling: str


_NVIDIA = _Names("text_input", "stream", "sampling_parameters")
_BLUEPRINT = _Names("PROMPT", "STREAM", "SAMPLING_PARAMETERS")


@dataclass(frozen=True)
class Raw:
    """A request before it is understood."""

    tensors: Mapping[str, Sequence[Any]]
    """Elements of each input tensor by name; STRING elements are bytes."""
    parameters: str = "{}"
    """Request parameters as JSON text."""
    timeout_us: int = 0
    """KServe's request timeout in microseconds; 0 for none."""
    request_id: str = ""
    traceparent: str = ""
    """W3C trace context of Triton's own span, where it traces the request."""


@dataclass(frozen=True)
class Outputs:
    """Which outputs beside the text a client asked for."""

    finish_reason: bool = False
    cumulative_logprob: bool = False
    logprobs: bool = False
    num_input_tokens: bool = False
    num_output_tokens: bool = False


_OUTPUT_NAMES = tuple(field.name for field in fields(Outputs))


@dataclass(frozen=True)
class Generation:
    """One request for text."""

    prompt: str
    stream: bool = False
    echo: bool = False
    """Whether the answer begins with the prompt."""
    cumulative: bool = False
    """The blueprint's interface: TEXT holds the prompt and all text so far in every response."""
    sampling: Mapping[str, Any] = field(default_factory=dict)
    """Fields for the engine, without the ones below."""
    n: int = 1
    logprobs: int | None = None
    lora: str | None = None
    priority: int | None = None
    outputs: Outputs = Outputs()
    timeout_seconds: float | None = None
    request_id: str = ""
    traceparent: str = ""


@dataclass(frozen=True)
class Embedding:
    """One request for a vector."""

    input: str | list[int]
    dimensions: int | None = None
    outputs: Outputs = Outputs()
    timeout_seconds: float | None = None
    request_id: str = ""
    traceparent: str = ""


def parse(raw: Raw, route: Route) -> Generation | Embedding:
    """Return what *raw* asks for; raise InvalidRequest or Unsupported naming the field that is wrong."""
    parameters = _object(raw.parameters, "request parameters")
    timeout = _timeout_seconds(raw.timeout_us, parameters)
    outputs = Outputs(**{name: bool(_flag(raw, f"return_{name}")) for name in _OUTPUT_NAMES})
    if "embedding_request" in raw.tensors:
        return _embedding(raw, outputs, timeout, _traceparent(raw, parameters))
    if "image" in raw.tensors:
        raise Unsupported(
            "image: a raw prompt cannot carry images to the engine; use the OpenAI door's /v1/chat/completions"
        )
    names = _BLUEPRINT if "PROMPT" in raw.tensors else _NVIDIA
    if names is _BLUEPRINT and _NVIDIA.prompt in raw.tensors:
        raise InvalidRequest("text_input and PROMPT are both there; send one of them")
    prompt = _text(raw, names.prompt)
    if prompt is None:
        raise InvalidRequest("text_input is missing: send the prompt as a STRING tensor of shape [1]")
    stream = bool(_flag(raw, names.stream))
    sampling = _sampling(raw, names.sampling, parameters, route)
    return Generation(
        prompt=prompt,
        stream=stream,
        echo=names is _BLUEPRINT or _echo(raw, stream),
        cumulative=names is _BLUEPRINT,
        n=sampling.pop("n", 1),
        logprobs=sampling.pop("logprobs", None),
        lora=check_lora(sampling.pop("lora_name", None), route),
        priority=sampling.pop("priority", None),
        sampling=sampling,
        outputs=outputs,
        timeout_seconds=timeout,
        request_id=raw.request_id,
        traceparent=_traceparent(raw, parameters),
    )


def _traceparent(raw: Raw, parameters: Mapping[str, Any]) -> str:
    """Return the trace's context: Triton's span, unless the client names another trace as a request parameter.

    Triton itself sees headers only. A malformed context is no error.
    """
    given = parameters.get("traceparent")
    theirs = read_context(given) if isinstance(given, str) else None
    tritons = read_context(raw.traceparent)
    if theirs is not None and (tritons is None or tritons.trace_id != theirs.trace_id):
        return str(given).strip()
    return raw.traceparent if tritons is not None else ""


def _sampling(raw: Raw, tensor: str, parameters: Mapping[str, Any], route: Route) -> dict[str, Any]:
    """Return the sampling parameters of the tensor; without one, those among the request parameters."""
    text = _text(raw, tensor)
    if text is None:
        where, values = "request parameters", {key: value for key, value in parameters.items() if not _reserved(key)}
    else:
        where, values = tensor, _object(text, tensor)
    sampling = read_sampling(values, engine=route.engine, where=where)
    # KServe's own request parameter holds for either form.
    own = {"priority": parameters["priority"]} if "priority" in parameters else {}
    sampling.update(read_sampling(own, engine=route.engine, where="request parameters"))
    if sampling.get("n", 1) < 1:
        raise InvalidRequest(f"{where}: `n` must be at least 1, got {sampling['n']}")
    return sampling


def check_lora(name: str | None, route: Route) -> str | None:
    """Return *name* if the model has that adapter; raise InvalidRequest in the words of NVIDIA's backend."""
    if name is None:
        return None
    if not route.lora_enabled:
        raise InvalidRequest("LoRA feature is not enabled.")
    if name not in route.loras:
        raise InvalidRequest(f"LoRA {name} is not supported, we currently support {list(route.loras)}")
    return name


def _embedding(raw: Raw, outputs: Outputs, timeout: float | None, traceparent: str) -> Embedding:
    where = "embedding_request"
    request = _object(_text(raw, where) or "", where)
    value = request.get("input")
    if not isinstance(value, str) and not (
        isinstance(value, list) and value and all(type(entry) is int for entry in value)
    ):
        raise InvalidRequest(f"{where}: `input` must be a text or a list of token ids")
    pooling = request.get("pooling_params") or {}
    if not isinstance(pooling, dict):
        raise InvalidRequest(f"{where}: `pooling_params` must be a JSON object")
    # NVIDIA's OpenAI front writes dimensions as a list of one.
    dimensions = pooling.get("dimensions")
    if isinstance(dimensions, list) and len(dimensions) == 1:
        dimensions = dimensions[0]
    if dimensions is not None and (type(dimensions) is not int or dimensions < 1):
        raise InvalidRequest(f"{where}: `dimensions` must be a positive integer, got {dimensions!r}")
    return Embedding(value, dimensions, outputs, timeout, raw.request_id, traceparent)


def _echo(raw: Raw, stream: bool) -> bool:
    exclude = _flag(raw, "exclude_input_in_output")
    if exclude is None:
        return not stream
    if stream and not exclude:
        raise InvalidRequest(STREAM_WITH_ECHO)
    return not exclude


def _reserved(name: str) -> bool:
    return name in _RESERVED or name.startswith(_RESERVED_PREFIXES)


def _timeout_seconds(timeout_us: int, parameters: Mapping[str, Any]) -> float | None:
    # Over gRPC the timeout is a field of the request; /generate passes it as an ordinary parameter.
    value = timeout_us or parameters.get("timeout") or 0
    try:
        microseconds = float(value)
    except (TypeError, ValueError):
        raise InvalidRequest(f"timeout must be a number of microseconds, got {value!r}") from None
    if microseconds < 0:
        raise InvalidRequest(f"timeout must not be negative, got {value!r}")
    return microseconds / 1e6 or None


def _flag(raw: Raw, name: str) -> bool | None:
    elements = raw.tensors.get(name)
    return None if elements is None else bool(_only(elements, name))


def _text(raw: Raw, name: str) -> str | None:
    elements = raw.tensors.get(name)
    if elements is None:
        return None
    value = _only(elements, name)
    try:
        return value.decode() if isinstance(value, bytes) else str(value)
    except UnicodeDecodeError as err:
        raise InvalidRequest(f"{name} is not UTF-8 text: {err.reason} at byte {err.start}") from None


def _only(elements: Sequence[Any], name: str) -> Any:
    if len(elements) != 1:
        raise InvalidRequest(f"{name} must hold one element, got {len(elements)}")
    return elements[0]


def _object(text: str, where: str) -> dict[str, Any]:
    try:
        value = codec.loads(text)
    except (ValueError, RecursionError) as err:
        raise InvalidRequest(f"{where} is not JSON: {err}") from None
    if not isinstance(value, dict):
        raise InvalidRequest(f"{where} must be a JSON object, got {text[:60]!r}")
    return value
