"""Outcomes for tests of what is said about them."""

from __future__ import annotations

from tritonfleet.client.batch import Outcome
from tritonfleet.client.generation import Generation, Timing
from tritonfleet.client.prompts import Prompt
from tritonfleet.errors import RequestFailed


def outcome(
    number: int,
    prompt: str = "p",
    answer: str = "a",
    *,
    seconds: float = 0.5,
    ttft: float | None = None,
    tokens: int | None = 4,
    error: RequestFailed | None = None,
) -> Outcome:
    """Return an outcome with the given particulars."""
    reasons = ("stop",) if error is None else (None,)
    generation = Generation((answer,), Timing(seconds, ttft), tokens, 3, reasons)
    return Outcome(Prompt(number, prompt, prompt), generation, error)
