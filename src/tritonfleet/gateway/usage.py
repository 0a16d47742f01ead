"""Read from an engine's answer how many tokens a request took; only for API keys that have a token limit.

The engine's own count is used. A stream that was not asked for one is asked for it (``stream_options``), and the
extra event is taken out again; only events that hold the word ``"usage"`` are decoded, which is one a stream.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from tritonfleet.gateway.head import Head, field

#: A whole answer longer than this is passed on without a look at its usage.
MAX_WHOLE_BYTES = 16 << 20
#: Bytes of text in a token, roughly; for requests whose count never came.
BYTES_PER_TOKEN = 4

_WITH_STREAM_OPTIONS = ("/v1/chat/completions", "/v1/completions")


class Usage(NamedTuple):
    """Tokens of one request."""

    prompt: int = 0
    answer: int = 0

    @property
    def total(self) -> int:
        """Prompt and answer."""
        return self.prompt + self.answer


class _Counts(msgspec.Struct, gc=False):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None


class _Holder(msgspec.Struct, gc=False):
    usage: _Counts | None = None


class _Event(msgspec.Struct, gc=False):
    """OpenAI has usage at the top, its responses API in ``response``, Anthropic's first event in ``message``."""

    usage: _Counts | None = None
    response: _Holder | None = None
    message: _Holder | None = None
    choices: list[msgspec.Raw] | None = None


_decode = msgspec.json.Decoder(_Event).decode


def wants_usage(path: str, head: Head, body: bytes | bytearray) -> dict[str, Any]:
    """Return the fields that make the engine tell its count in a stream; empty if it will anyway."""
    if path not in _WITH_STREAM_OPTIONS or not head.streams:
        return {}
    options = field(body, "stream_options")
    if not isinstance(options, dict):
        options = {}
    return {} if options.get("include_usage") is True else {"stream_options": {**options, "include_usage": True}}


class UsageTap:
    """Lets an answer's bytes through and remembers the usage that goes by."""

    def __init__(self, *, hide: bool) -> None:
        """Take the usage event out of a stream with *hide*: its client has not asked for it."""
        self._hide = hide
        self.began = False
        """Whether an answer has begun."""
        self._is_stream = False
        self._held = b""
        self._end = b"\n\n"
        self._whole: list[bytes] = []
        self._whole_bytes = 0
        self._events = 0
        self._usage = Usage()

    def begin(self, *, is_stream: bool) -> None:
        """Tell the form of the answer."""
        self.began = True
        self._is_stream = is_stream

    def feed(self, chunk: bytes) -> bytes:
        """Return what of the bytes so far goes to the client now: whole events of a stream, else everything."""
        if not self._is_stream:
            self._whole_bytes += len(chunk)
            if self._whole_bytes <= MAX_WHOLE_BYTES:
                self._whole.append(chunk)
            return chunk
        if b"\r\n\r\n" in chunk:
            self._end = b"\r\n\r\n"
        held = self._held + chunk
        cut = held.rfind(self._end)
        if cut < 0:
            self._held = held
            return b""
        cut += len(self._end)
        events, self._held = held[:cut], held[cut:]
        self._events += events.count(b"data:")
        return self._look(events) if b'"usage"' in events else events

    def rest(self) -> bytes:
        """Return what is left at the end of the answer, and read a whole answer's usage."""
        if not self._is_stream and self._whole_bytes <= MAX_WHOLE_BYTES:
            self._take(b"".join(self._whole))
        left, self._held = self._held, b""
        return left

    def usage(self) -> Usage | None:
        """Return what the engine told, None if it told nothing."""
        return self._usage if self._usage.total else None

    def estimate(self, body_bytes: int) -> Usage:
        """Return a guess for an answer that ended early: the prompt by its size, one token an event."""
        return Usage(body_bytes // BYTES_PER_TOKEN, self._events)

    def _look(self, events: bytes) -> bytes:
        kept = []
        for event in events.split(self._end)[:-1]:
            extra = b'"usage"' in event and self._take(event[event.find(b"{") :])
            if not (extra and self._hide):
                kept.append(event + self._end)
        return b"".join(kept)

    def _take(self, data: bytes) -> bool:
        """Remember the usage in *data*; return whether it holds nothing else."""
        try:
            event = _decode(data)
        except (msgspec.DecodeError, RecursionError):
            return False
        holders = (event.usage, event.response and event.response.usage, event.message and event.message.usage)
        counts = next((found for found in holders if found), None)
        if counts is None:
            return False
        prompt = counts.prompt_tokens or counts.input_tokens or 0
        answer = counts.completion_tokens or counts.output_tokens or 0
        self._usage = Usage(max(self._usage.prompt, prompt), max(self._usage.answer, answer))
        return event.choices == []
