"""The bodies of the fake engine's answers, in the shape of vLLM's."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tritonfleet.fake_engine.answer import Step, alternatives
from tritonfleet.fake_engine.request import GenerationRequest, Prompt
from tritonfleet.fake_engine.vocabulary import Vocabulary

DONE = b"data: [DONE]\n\n"
#: Kept, because json.dumps makes a new one for each event of a stream.
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


@dataclass
class Choice:
    """One answer while it grows."""

    index: int
    prompt: Prompt
    steps: list[Step] = field(default_factory=list)
    offset: int = 0
    """Characters of the tokens that were reported with log probabilities."""

    tokens: int = 0
    """Tokens generated so far."""

    def take(self, step: Step) -> None:
        """Add what one step of the engine brought."""
        self.steps.append(step)
        self.tokens += step.token_id is not None


class Writer:
    """Writes the answer to one request."""

    def __init__(self, request: GenerationRequest, vocabulary: Vocabulary) -> None:
        self._request = request
        self._vocabulary = vocabulary
        prefix, kind = ("chatcmpl", "chat.completion") if request.chat else ("cmpl", "text_completion")
        identity = f"{prefix}-{request.request_id or uuid.uuid4().hex}"
        self._head = {"id": identity, "object": kind, "created": int(time.time()), "model": request.model}
        self._chunk_head = {**self._head, "object": "chat.completion.chunk" if request.chat else kind}

    def opening(self, choices: Sequence[Choice]) -> bytes:
        """Return what a chat stream begins with: the role of each choice."""
        if not self._request.chat:
            return b""
        return b"".join(
            self._event(
                [{"index": c.index, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}],
                **({"prompt_token_ids": list(c.prompt.ids)} if self._request.return_ids else {}),
                **self._usage_so_far(c),
            )
            for c in choices
        )

    def event(self, choice: Choice, step: Step) -> bytes:
        """Return the event for a step that *choice* has just taken."""
        first = len(choice.steps) == 1
        text = step.text
        if first and self._request.echo:
            text = choice.prompt.text + text
        entry = self._entry(choice, text, [step])
        if self._request.return_ids and first and not self._request.chat:
            entry["prompt_token_ids"] = list(choice.prompt.ids)
        return self._event([entry], **self._usage_so_far(choice))

    def closing(self, choices: Sequence[Choice]) -> bytes:
        """Return the end of a stream."""
        return (self._event([], usage=self._usage(choices)) if self._request.include_usage else b"") + DONE

    def whole(self, choices: Sequence[Choice]) -> dict[str, Any]:
        """Return the body of an answer that is not streamed."""
        entries = []
        for choice in choices:
            text = "".join(step.text for step in choice.steps)
            entry = self._entry(choice, choice.prompt.text + text if self._request.echo else text, choice.steps)
            if self._request.chat:
                entry["message"] = {"role": "assistant", **entry.pop("delta")}
            elif self._request.return_ids:
                entry["prompt_token_ids"] = list(choice.prompt.ids)
            entries.append(entry)
        body = {**self._head, "choices": entries, "usage": self._usage(choices)}
        if self._request.chat and self._request.return_ids:
            body["prompt_token_ids"] = list(choices[0].prompt.ids)
        return body

    def error(self, message: str) -> bytes:
        """Return an error inside a stream."""
        return b"data: " + _json(error_body(message, "InternalServerError", 500)) + b"\n\n"

    def _event(self, choices: list[dict[str, Any]], **more: Any) -> bytes:
        return b"data: " + _json({**self._chunk_head, "choices": choices, **more}) + b"\n\n"

    def _entry(self, choice: Choice, text: str, steps: Sequence[Step]) -> dict[str, Any]:
        request = self._request
        entry: dict[str, Any] = {"index": choice.index}
        if request.chat:
            entry["delta"] = {"content": text}
        else:
            entry["text"] = text
        entry["logprobs"] = None if request.logprobs is None else self._logprobs(choice, steps, request.logprobs)
        entry["finish_reason"] = steps[-1].finish_reason
        entry["stop_reason"] = steps[-1].stop_reason
        if request.return_ids:
            entry["token_ids"] = [step.token_id for step in steps if step.token_id is not None]
        return entry

    def _logprobs(self, choice: Choice, steps: Sequence[Step], wanted: int) -> dict[str, Any]:
        tables = [
            [(self._name(text, identity), chance) for text, identity, chance in table]
            for table in (
                alternatives(step.token, step.token_id, max(wanted, 1), self._vocabulary)
                for step in steps
                if step.token_id is not None
            )
        ]
        if self._request.chat:
            return {"content": [_chat_logprob(table, wanted) for table in tables]}
        offsets = []
        for table in tables:
            offsets.append(choice.offset)
            choice.offset += len(table[0][0])
        return {
            "text_offset": offsets,
            "token_logprobs": [table[0][1] for table in tables],
            "tokens": [table[0][0] for table in tables],
            "top_logprobs": [dict(table) for table in tables],
        }

    def _name(self, text: str, identity: int) -> str:
        return f"token_id:{identity}" if self._request.tokens_as_ids else text

    def _usage_so_far(self, choice: Choice) -> dict[str, Any]:
        return {"usage": _usage(len(choice.prompt.ids), choice.tokens)} if self._request.continuous_usage else {}

    def _usage(self, choices: Sequence[Choice]) -> dict[str, int]:
        prompts = sum(len(prompt.ids) for prompt in self._request.prompts)
        return _usage(prompts, sum(choice.tokens for choice in choices))


def error_body(message: str, kind: str, code: int, param: str | None = None) -> dict[str, Any]:
    """Return an error in vLLM's shape."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def _chat_logprob(table: list[tuple[str, float]], wanted: int) -> dict[str, Any]:
    entries = [{"token": name, "logprob": chance, "bytes": list(name.encode())} for name, chance in table]
    return {**entries[0], "top_logprobs": entries[:wanted]}


def _usage(prompt: int, completion: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "total_tokens": prompt + completion, "completion_tokens": completion}


def _json(value: object) -> bytes:
    return _ENCODER.encode(value).encode("utf-8", "replace")
