"""Small KServe requests for the end-to-end tests, with the outcome as a value."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.e2e.conftest import RunningFleet


@dataclass(frozen=True)
class Outcome:
    """What a client got."""

    ok: bool
    text: str = ""
    error: str = ""
    status: int | None = None
    events: list[dict[str, Any]] = field(default_factory=list)


def post(fleet: RunningFleet, path: str, body: dict[str, Any] | None = None, timeout: float = 60) -> Outcome:
    """Send JSON to Triton's HTTP door."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{fleet.http}{path}", data=json.dumps(body or {}).encode(), method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            text = response.read().decode()
            return Outcome(True, text=text, status=response.status)
    except urllib.error.HTTPError as err:
        return Outcome(False, error=err.read().decode(), status=err.code)
    except (OSError, http.client.HTTPException) as err:
        return Outcome(False, error=str(err))


def generate(fleet: RunningFleet, model: str, prompt: str = "one two three", *, tokens: int = 8) -> Outcome:
    """Ask for an answer at once."""
    body = {"text_input": prompt, "max_tokens": tokens, "ignore_eos": True, "exclude_input_in_output": True}
    outcome = post(fleet, f"/v2/models/{model}/generate", body)
    if not outcome.ok:
        return outcome
    data = json.loads(outcome.text)
    if "error" in data:
        return Outcome(False, error=data["error"], status=outcome.status)
    return Outcome(True, text=data["text_output"], status=outcome.status, events=[data])


def stream(fleet: RunningFleet, model: str, prompt: str = "one two three", *, tokens: int = 8) -> Outcome:
    """Ask for an answer in pieces."""
    body = {"text_input": prompt, "stream": True, "max_tokens": tokens, "ignore_eos": True}
    outcome = post(fleet, f"/v2/models/{model}/generate_stream", body)
    if not outcome.ok:
        return outcome
    lines = [line for line in outcome.text.splitlines() if line.startswith("data:")]
    events = [json.loads(line.removeprefix("data:")) for line in lines]
    errors = [event["error"] for event in events if "error" in event]
    text = "".join(event.get("text_output", "") for event in events)
    # A connection that ends early without an error event is an error too: fewer tokens than asked for.
    return Outcome(not errors, text=text, error="; ".join(errors), status=outcome.status, events=events)


def stream_until_cut(fleet: RunningFleet, model: str, cut: Callable[[], None], *, tokens: int = 900) -> Outcome:
    """Stream an answer, call *cut* after its first event, and read on to the end, whatever that is."""
    body = {"text_input": "one two three", "stream": True, "max_tokens": tokens, "ignore_eos": True}
    url = f"http://127.0.0.1:{fleet.http}/v2/models/{model}/generate_stream"
    text = ""
    try:
        with urllib.request.urlopen(url, data=json.dumps(body).encode(), timeout=60) as response:
            text = response.readline().decode()
            cut()
            text += response.read().decode()
    except (OSError, http.client.HTTPException) as err:
        return Outcome(False, text=text, error=str(err))
    return Outcome('"error"' not in text, text=text, error=text[-500:])
