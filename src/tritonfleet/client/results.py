r"""The results file: prompt and answer pairs in the format of the AI-on-EKS blueprint's client.

A record is::

    Prompt: What is a KV cache?
    Response Time: 0.834 seconds
    Tokens: 57
    Response: A KV cache holds ...

and is followed by an empty line's end, ``=========`` and an empty line. A failed request has a line ``Error: reason``
before its response, which is what came before the failure. A line of the answer that could be taken for the separator
(backslashes, then ``=========``) gets one more backslash, so that any answer can be read back. A prompt has one line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tritonfleet.client.batch import Outcome
from tritonfleet.client.stats import seconds_text
from tritonfleet.errors import UsageError

SEPARATOR = "========="
_END = f"\n{SEPARATOR}\n\n"
_LOOKS_LIKE_SEPARATOR = re.compile(rf"^(\\*{SEPARATOR})$", re.MULTILINE)
_ESCAPED_SEPARATOR = re.compile(rf"^\\(\\*{SEPARATOR})$", re.MULTILINE)
_RECORD = re.compile(
    r"Prompt: (?P<prompt>[^\n]*)\n"
    r"Response Time: (?P<seconds>[0-9.]+) seconds\n"
    r"Tokens: (?P<tokens>[0-9]+|n/a)\n"
    r"(?:Error: (?P<error>[^\n]*)\n)?"
    r"Response: (?P<response>.*)",
    re.DOTALL,
)


@dataclass(frozen=True)
class Record:
    """One prompt with its answer as the results file holds them."""

    prompt: str
    seconds: str
    """Response time as text, so that reading and writing changes no digit."""
    tokens: int | None
    response: str
    error: str | None = None


def to_record(outcome: Outcome) -> Record:
    """Return the record of *outcome*; several choices are joined, each under its number."""
    generation = outcome.generation
    response = generation.text
    if len(generation.texts) > 1:
        response = "\n".join(f"[{number}] {text}" for number, text in enumerate(generation.texts, start=1))
    return Record(
        prompt=outcome.prompt.text,
        seconds=seconds_text(generation.timing.latency_seconds),
        tokens=generation.output_tokens,
        response=response,
        error=None if outcome.error is None else " ".join(str(outcome.error).split()),
    )


def format_results(records: Iterable[Record]) -> str:
    """Return the text of a results file."""
    return "".join(_format(record) + _END for record in records)


def parse_results(text: str) -> list[Record]:
    """Return the records in *text*; raise UsageError naming the first that is not one."""
    if not text:
        return []
    parts = text.split(_END)
    if parts.pop():
        raise UsageError(f"results: the last record is not followed by a line {SEPARATOR!r}; the file is cut off")
    return [_parse(number, part) for number, part in enumerate(parts, start=1)]


def write_results(path: Path, outcomes: Iterable[Outcome]) -> None:
    """Write the outcomes to *path*, in the order of their numbers; raise UsageError if that is not possible."""
    ordered = sorted(outcomes, key=lambda outcome: outcome.prompt.request_id)
    try:
        with path.open("w", encoding="utf-8", newline="", errors="backslashreplace") as file:
            file.write(format_results(map(to_record, ordered)))
    except OSError as err:
        raise UsageError(f"results file {path}: {err.strerror or err}; name another with --results-file") from err


def check_writable(path: Path) -> None:
    """Raise UsageError if *path* cannot be written, before an answer is lost for it; keeps what it holds."""
    try:
        with path.open("a", encoding="utf-8"):
            pass
    except OSError as err:
        raise UsageError(f"results file {path}: {err.strerror or err}; name another with --results-file") from err


def _format(record: Record) -> str:
    response = _LOOKS_LIKE_SEPARATOR.sub(r"\\\1", record.response)
    return (
        f"Prompt: {record.prompt}\n"
        f"Response Time: {record.seconds} seconds\n"
        f"Tokens: {'n/a' if record.tokens is None else record.tokens}\n"
        + ("" if record.error is None else f"Error: {record.error}\n")
        + f"Response: {response}"
    )


def _parse(number: int, text: str) -> Record:
    found = _RECORD.fullmatch(text)
    if found is None:
        raise UsageError(f"results: record {number} is not of the form Prompt, Response Time, Tokens, Response")
    return Record(
        prompt=found["prompt"],
        seconds=found["seconds"],
        tokens=None if found["tokens"] == "n/a" else int(found["tokens"]),
        response=_ESCAPED_SEPARATOR.sub(r"\1", found["response"]),
        error=found["error"],
    )
