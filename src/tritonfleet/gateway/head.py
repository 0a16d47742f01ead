"""What the gateway reads of a request body: which model it is for, and which conversation it belongs to.

msgspec walks over the fields that are not named here without making objects of them, so a body full of images
costs one pass over its bytes.
"""

from __future__ import annotations

import hashlib

import msgspec

from tritonfleet.gateway.problem import Problem

#: How much of a plain prompt names its conversation, in bytes: about a hundred tokens.
PREFIX_BYTES = 512

_ABSENT = msgspec.Raw()


class Head(msgspec.Struct, frozen=True, gc=False):
    """The fields of a request that the gateway looks at, as they stand in the body."""

    model: msgspec.Raw = _ABSENT
    stream: msgspec.Raw = _ABSENT
    messages: msgspec.Raw = _ABSENT
    prompt: msgspec.Raw = _ABSENT
    input: msgspec.Raw = _ABSENT
    system: msgspec.Raw = _ABSENT
    prompt_cache_key: msgspec.Raw = _ABSENT

    @property
    def streams(self) -> bool:
        """Whether the answer is asked for in pieces."""
        return bytes(self.stream) in (b"true", b'"true"', b"1")


class _Message(msgspec.Struct, gc=False):
    role: str = ""
    content: msgspec.Raw = _ABSENT


_head = msgspec.json.Decoder(Head).decode
_text = msgspec.json.Decoder(str).decode
_messages = msgspec.json.Decoder(list[_Message]).decode
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


def read_head(body: bytes | bytearray) -> Head:
    """Return the head of a JSON body; raise Problem (400) if it is not a JSON object."""
    try:
        return _head(body)
    except (msgspec.DecodeError, RecursionError) as err:
        raise Problem(400, "invalid_json", f"the body is not a JSON object: {err}") from err


def model_of(head: Head) -> str:
    """Return the ``model`` field, empty when it is missing; raise Problem (400) if it is not a text."""
    raw = bytes(head.model)
    if not raw or raw == b"null":
        return ""
    try:
        return _text(raw)
    except msgspec.DecodeError as err:
        raise Problem(400, "invalid_type", f"`model` must be a text, not {raw[:80]!r}", param="model") from err


def with_fields(body: bytes | bytearray, changes: dict[str, object]) -> bytes:
    """Return *body* with top-level fields replaced or added; all other values keep their very bytes."""
    fields = _fields(body)
    for name, value in changes.items():
        fields[name] = msgspec.Raw(_encode(value))
    return _encode(fields)


def field(body: bytes | bytearray, name: str) -> object:
    """Return one decoded top-level field of a body that ``read_head`` took; None when it is missing."""
    raw = _fields(body).get(name)
    return None if raw is None else msgspec.json.decode(raw)


def conversation(head: Head, name: str) -> bytes | None:
    """Return a digest that all requests of one conversation share, or None where nothing tells.

    A chat keeps its messages up to the first of the user; a plain prompt keeps its first PREFIX_BYTES.
    """
    key = bytes(head.prompt_cache_key)
    if key in (b"", b"null"):
        key = b"\0".join(_prefix(bytes(raw)) for raw in (head.system, head.messages, head.prompt, head.input))
    if not key.strip(b"\0"):
        return None
    return hashlib.blake2b(key, key=name.encode()[:64], digest_size=8).digest()


def _prefix(raw: bytes) -> bytes:
    if not raw.startswith(b"["):
        return raw[:PREFIX_BYTES]
    try:
        messages = _messages(raw)
    except (msgspec.DecodeError, RecursionError):
        return raw[:PREFIX_BYTES]
    parts = []
    for message in messages:
        parts.append(bytes(message.content))
        if message.role == "user":
            break
    return b"\0".join(parts)
