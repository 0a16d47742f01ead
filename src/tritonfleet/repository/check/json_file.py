"""Read a JSON object of the repository and say where it is wrong."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from tritonfleet.repository.check.finding import Finding, line_of


@dataclass(frozen=True)
class JsonFile:
    """A JSON file that holds an object."""

    place: PurePosixPath
    """Path relative to the repository."""
    text: str
    values: dict[str, Any]

    def at(self, key: str, severity: Literal["error", "warning"], message: str, fix: str) -> Finding:
        """Return a finding at the line of *key*."""
        return Finding(severity, self.place, message, fix, line_of(self.text, rf"{_key(key)}\s*:"))


def _key(key: str) -> str:
    return re.escape(json.dumps(key, ensure_ascii=False))


def read_json(path: Path, place: PurePosixPath) -> JsonFile | Finding:
    """Return the file's object, or what is wrong with it."""
    repeated: list[str] = []

    def keep(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            keys = [key for key, _ in pairs]
            repeated.extend(key for key in found if keys.count(key) > 1)
        return found

    try:
        text = path.read_text(encoding="utf-8")
        values = json.loads(text, object_pairs_hook=keep)
    except json.JSONDecodeError as err:
        return Finding("error", place, f"is not JSON: {err.msg}", "correct it", err.lineno)
    except (OSError, ValueError, RecursionError) as err:
        return Finding("error", place, f"cannot be read: {err}", "store it as UTF-8 text that Triton may read")
    if not isinstance(values, dict):
        return Finding(
            "error", place, f"holds {with_article(json_type(values))}", "it must hold a JSON object: { ... }", 1
        )
    file = JsonFile(place, text, values)
    if repeated:
        return file.at(repeated[0], "error", f"the key {repeated[0]!r} is there twice", "keep one of them")
    return file


def json_type(value: object) -> str:
    """Return the JSON name of the type of *value*."""
    for kind, name in ((bool, "boolean"), (int, "integer"), (float, "number"), (str, "string"), (list, "array")):
        if isinstance(value, kind):
            return name
    return "null" if value is None else "object"


def with_article(kind: str) -> str:
    """Return ``an integer``, ``a string``, ``null``."""
    return kind if kind == "null" else f"{'an' if kind[0] in 'aio' else 'a'} {kind}"
