"""What a generation request asks for, read from OpenAI's JSON with vLLM's additions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tritonfleet.fake_engine.vocabulary import Vocabulary


class BadRequest(Exception):
    """The request cannot be served as it is; *param* names the field."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


@dataclass(frozen=True)
class Prompt:
    """A prompt: its tokens, and those that the answer repeats."""

    ids: tuple[int, ...]
    echoed: tuple[str, ...]
    """Tokens of the part that the answer is made of: the whole prompt, or the last message of a chat."""
    text: str


@dataclass(frozen=True)
class GenerationRequest:
    """One call of /v1/completions or /v1/chat/completions."""

    chat: bool
    model: str
    prompts: tuple[Prompt, ...]
    n: int = 1
    max_tokens: int | None = None
    """None: as many as fit."""
    min_tokens: int = 0
    ignore_eos: bool = False
    seed: int = 0
    priority: int = 0
    stop: tuple[str, ...] = ()
    stop_token_ids: frozenset[int] = frozenset()
    include_stop: bool = False
    logprobs: int | None = None
    """Alternatives to report for each token; None: no log probabilities."""
    tokens_as_ids: bool = False
    return_ids: bool = False
    echo: bool = False
    stream: bool = False
    include_usage: bool = False
    continuous_usage: bool = False
    request_id: str | None = None


def read_completion(body: object, vocabulary: Vocabulary) -> GenerationRequest:
    """Read the body of /v1/completions; raise BadRequest naming the field that is wrong."""
    data = _mapping(body)
    common = _common(data)
    echo = bool(data.get("echo"))
    return GenerationRequest(
        **common,
        chat=False,
        prompts=_prompts(data.get("prompt"), vocabulary),
        max_tokens=_integer(data, "max_tokens", 16, least=0 if echo else 1),
        logprobs=_integer(data, "logprobs", None, least=0),
        echo=echo,
    )


def read_chat(body: object, vocabulary: Vocabulary) -> GenerationRequest:
    """Read the body of /v1/chat/completions; raise BadRequest naming the field that is wrong."""
    data = _mapping(body)
    messages = [*_messages(data.get("messages"))]
    text = "\n".join(f"{role}: {content}" for role, content in messages)
    prompt = Prompt(tuple(vocabulary.encode(text)), tuple(vocabulary.split(messages[-1][1])), text)
    limit = _integer(data, "max_completion_tokens", None, least=1)
    top = _integer(data, "top_logprobs", 0, least=0)
    if top and not data.get("logprobs"):
        raise BadRequest("when using `top_logprobs`, `logprobs` must be set to true.", "top_logprobs")
    return GenerationRequest(
        **_common(data),
        chat=True,
        prompts=(prompt,),
        max_tokens=_integer(data, "max_tokens", None, least=1) if limit is None else limit,
        logprobs=top if data.get("logprobs") else None,
    )


def _common(data: Mapping[str, Any]) -> dict[str, Any]:
    options = data.get("stream_options") or {}
    stream = bool(data.get("stream"))
    if options and not stream:
        raise BadRequest("Stream options can only be defined when `stream=True`.", "stream_options")
    include_usage = bool(_mapping(options, "stream_options").get("include_usage"))
    return {
        "model": _of_type(data, "model", str, ""),
        "n": _integer(data, "n", 1, least=1),
        "min_tokens": _integer(data, "min_tokens", 0, least=0),
        "ignore_eos": bool(data.get("ignore_eos")),
        "seed": _integer(data, "seed", 0),
        "priority": _integer(data, "priority", 0),
        "stop": _stop(data.get("stop")),
        "stop_token_ids": frozenset(_list_of(data, "stop_token_ids", int)),
        "include_stop": bool(data.get("include_stop_str_in_output")),
        "tokens_as_ids": bool(data.get("return_tokens_as_token_ids")),
        "return_ids": bool(data.get("return_token_ids")),
        "stream": stream,
        "include_usage": include_usage,
        "continuous_usage": include_usage and bool(options.get("continuous_usage_stats")),
        "request_id": _of_type(data, "request_id", str, None),
    }


def _mapping(value: object, param: str | None = None) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise BadRequest("Input should be a valid dictionary", param)
    return value


def _of_type(data: Mapping[str, Any], name: str, kind: type, default: Any) -> Any:
    value = data.get(name)
    if value is None:
        return default
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise BadRequest(f"`{name}` should be a valid {kind.__name__}, got {value!r}.", name)
    return value


def _integer(data: Mapping[str, Any], name: str, default: Any, *, least: int | None = None) -> Any:
    value = _of_type(data, name, int, default)
    if least is not None and value is not None and value < least:
        raise BadRequest(f"`{name}` must be at least {least}, got {value}.", name)
    return value


def _list_of(data: Mapping[str, Any], name: str, kind: type) -> Sequence[Any]:
    values = _of_type(data, name, list, [])
    for value in values:
        if not isinstance(value, kind):
            raise BadRequest(f"`{name}` should hold {kind.__name__} only, got {value!r}.", name)
    return values  # type: ignore[no-any-return]


def _stop(value: object) -> tuple[str, ...]:
    texts = _list_of({"stop": [value] if isinstance(value, str) else value}, "stop", str)
    if "" in texts:
        raise BadRequest("stop cannot contain an empty string.", "stop")
    return tuple(texts)


def _prompts(value: object, vocabulary: Vocabulary) -> tuple[Prompt, ...]:
    if isinstance(value, str):
        return (_prompt_of_text(value, vocabulary),)
    if not isinstance(value, list) or not value:
        raise BadRequest("Either prompt or prompt_embeds must be provided and non-empty.", "prompt")
    kinds: tuple[tuple[type, Callable[[Any], Prompt]], ...] = (
        (str, lambda text: _prompt_of_text(text, vocabulary)),
        (list, lambda ids: _prompt_of_ids(ids, vocabulary)),
    )
    if all(isinstance(item, int) and not isinstance(item, bool) for item in value):
        return (_prompt_of_ids(value, vocabulary),)
    for kind, make in kinds:
        if all(isinstance(item, kind) for item in value):
            return tuple(make(item) for item in value)
    raise BadRequest("prompt must be a string, a list of strings, token ids, or a list of token ids.", "prompt")


def _prompt_of_text(text: str, vocabulary: Vocabulary) -> Prompt:
    tokens = vocabulary.split(text)
    return Prompt(tuple(vocabulary.id_of(token) for token in tokens), tuple(tokens), text)


def _prompt_of_ids(ids: list[int], vocabulary: Vocabulary) -> Prompt:
    if not all(isinstance(item, int) for item in ids):
        raise BadRequest("a prompt of token ids must hold integers only.", "prompt")
    return Prompt(tuple(ids), tuple(map(vocabulary.text_of, ids)), vocabulary.decode(ids))


def _messages(value: object) -> Sequence[tuple[str, str]]:
    if not isinstance(value, list) or not value:
        raise BadRequest("`messages` must hold at least one message.", "messages")
    messages = []
    for entry in value:
        message = _mapping(entry, "messages")
        content = message.get("content")
        if isinstance(content, list):
            content = "\n".join(str(_mapping(part, "messages").get("text", "")) for part in content)
        if not isinstance(content, str):
            raise BadRequest(f"the content of a message must be text, got {content!r}.", "messages")
        messages.append((_of_type(message, "role", str, "user"), content))
    return messages
