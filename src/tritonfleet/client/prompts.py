"""Prompts as a person keeps them: a UTF-8 text file with one prompt a line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tritonfleet.client.template import ChatTemplate
from tritonfleet.errors import UsageError


@dataclass(frozen=True)
class Prompt:
    """A line of the prompts file, and what is sent for it."""

    request_id: int
    text: str
    """The line as the person wrote it."""
    rendered: str
    """The line inside the model's chat template, or the line itself."""


def read_prompts(path: Path) -> list[str]:
    """Return the prompts in *path*; blank lines are skipped. Raises UsageError naming the file, and the line."""
    try:
        data = path.read_bytes()
    except OSError as err:
        raise UsageError(f"prompts file {path}: {err.strerror or err}; name it with --input-prompts") from err
    try:
        # utf-8-sig drops the mark that some Windows editors put first.
        lines = data.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as err:
        line = data.count(b"\n", 0, err.start) + 1
        raise UsageError(f"prompts file {path}:{line}: this is not UTF-8; save the file as UTF-8") from err
    prompts = [stripped for line in lines if (stripped := line.strip())]
    if not prompts:
        raise UsageError(f"prompts file {path} holds no prompt; write one prompt a line")
    return prompts


def render_prompts(
    lines: Sequence[str], template: ChatTemplate | None, *, system: str | None, iterations: int, offset: int
) -> list[Prompt]:
    """Return the requests of *iterations* passes over *lines*, numbered from *offset*."""
    rendered = [_render(line, template, system) for line in lines]
    passes = [(line, text) for _ in range(iterations) for line, text in zip(lines, rendered, strict=True)]
    return [Prompt(number, line, text) for number, (line, text) in enumerate(passes, start=offset)]


def _render(line: str, template: ChatTemplate | None, system: str | None) -> str:
    if template is None:
        return line if system is None else f"{system}\n\n{line}"
    messages = [{"role": "user", "content": line}]
    if system is not None:
        messages.insert(0, {"role": "system", "content": system})
    return template.render(messages)
