"""pydantic's complaints in words that say what to write instead. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from tritonfleet.spec.models import FLEET_NAME, MODEL_NAME, FleetSpec
from tritonfleet.spec.places import Location

#: What a pattern means; the pattern itself helps nobody.
_PATTERNS = {
    MODEL_NAME: "letters, digits, '.', '_' and '-', first a letter or digit, at most 63",
    FLEET_NAME: "small letters, digits and '-', at most 40",
}
_SECONDS = {"ms": 0.001, "s": 1, "sec": 1, "second": 1, "seconds": 1, "m": 60, "min": 60, "minutes": 60, "h": 3600}
_BYTES = {"b": 1, "k": 1000, "kb": 1000, "kib": 2**10, "m": 1000**2, "mb": 1000**2, "mib": 2**20, "g": 1000**3}
_BYTES |= {"gb": 1000**3, "gib": 2**30}
_COUNTS = {"k": 1024, "ki": 1024, "m": 2**20}


def explain(location: Location, details: Sequence[ErrorDetails], written: str | None) -> str:
    """Return what is wrong at *location* and what to write; *written* is the scalar as it stands in the file."""
    # A union's words ("auto", "cpu") are the last guess at what the person meant.
    detail = next((one for one in details if one["type"] not in ("literal_error", "tuple_type")), details[0])
    if detail["type"] == "missing":
        return f"this key is required; add `{location[-1]}: ...`"
    if detail["type"] == "extra_forbidden":
        return f"unknown key; {_near_key(location)}"
    if detail["type"] == "value_error":
        return str(detail["ctx"]["error"])
    if detail["type"] == "invalid_key" or detail["loc"][-1:] == ("[key]",):
        key = location[-1] if location else detail.get("input")
        return f'the key {key} is not text; write it in quotes: "{key}"'
    value = detail.get("input")
    if value is None:
        return "there is no value; write one, or remove the key"
    shown = written if written is not None and not isinstance(value, str) else repr(value)
    words = next((one["ctx"]["expected"] for one in details if one["type"] == "literal_error"), "")
    if detail["type"] == "literal_error":
        lists = " or a list" if any(one["type"] == "tuple_type" for one in details) else ""
        return f"{shown} is not {words}{lists}{_near_choice(value, words)}"
    if detail["type"] == "model_type":
        return f"{shown} is not a mapping; {_keys_below(location)}"
    problem = _number_problem(location, detail) or _problem(detail, written)
    return f"{shown} {problem}{f', or {words}' if words else ''}"


def _number_problem(location: Location, detail: ErrorDetails) -> str | None:
    value, context = detail.get("input"), detail.get("ctx", {})
    match detail["type"]:
        case "int_type" | "int_parsing" | "int_from_float":
            return f"is not a whole number{_number_hint(location, value)}"
        case "float_type" | "float_parsing":
            return f"is not a number{_number_hint(location, value)}"
        case "greater_than_equal":
            return f"is too small; the least is {context['ge']}"
        case "greater_than":
            return f"is too small; it must be above {context['gt']:g}"
        case "less_than_equal":
            return f"is too large; the most is {context['le']}"
        case "finite_number":
            return "is not a finite number; write a number"
        case _:
            return None


def _problem(detail: ErrorDetails, written: str | None) -> str:
    value, context = detail.get("input"), detail.get("ctx", {})
    match detail["type"]:
        case "string_pattern_mismatch":
            return f"is not a name: {_PATTERNS.get(context['pattern'], context['pattern'])}{_near_name(context, value)}"
        case "bool_type":
            return f"is not true or false{_truth_hint(value)}"
        case "string_type":
            return f'is not text; write it in quotes: "{written}"' if written is not None else "is not text"
        case "tuple_type":
            return f"is not a list; write [{written}]" if written else "is not a list; begin each entry with `- `"
        case "dict_type":
            return "is not a mapping; write `key: value` below it"
        case _:
            return f"is wrong: {detail['msg'][0].lower()}{detail['msg'][1:]}"


def _number_hint(location: Location, value: object) -> str:
    """Say what to write for '8k', '90s' or '2 GiB'."""
    if isinstance(value, float):
        return f"; write {round(value)}"
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", value) if isinstance(value, str) else None
    if not found:
        return "; write a number"
    key = str(location[-1])
    factors = _SECONDS if key.endswith("_seconds") else _BYTES if key.endswith("_bytes") else _COUNTS
    unit = found[2].lower()
    if unit and unit not in factors:
        measure = "seconds" if factors is _SECONDS else "bytes" if factors is _BYTES else "no unit"
        return f"; write the number alone ({measure})"
    return f"; write {float(found[1]) * factors.get(unit, 1):.15g}"


def _section_at(location: Location) -> type[BaseModel] | None:
    """Return the section at *location*; None if something else is there."""
    section: type[BaseModel] | None = FleetSpec
    for part in location:
        if isinstance(part, int):
            continue
        field = section.model_fields.get(part) if section else None
        section = _section_in(field.annotation) if field else None
    return section


def _section_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for arg in get_args(annotation) if (found := _section_in(arg))), None)


def _near_key(location: Location) -> str:
    section = _section_at(location[:-1])
    known = list(section.model_fields) if section else []
    near = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.5)
    return f"did you mean `{near[0]}`?" if near else f"known keys here: {', '.join(known)}"


def _keys_below(location: Location) -> str:
    section = _section_at(location)
    return f"write its keys below it: {', '.join(section.model_fields)}" if section else "write `key: value` below it"


def _near_choice(value: object, expected: str) -> str:
    near = difflib.get_close_matches(str(value), re.findall(r"'([^']*)'", expected), n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""


def _near_name(context: dict[str, Any], value: object) -> str:
    """Return the nearest name that the pattern takes."""
    small = context["pattern"] == FLEET_NAME
    plain = re.sub(r"[^a-z0-9]+" if small else r"[^A-Za-z0-9._-]+", "-", str(value).lower() if small else str(value))
    plain = plain.strip("-._")[: 40 if small else 63].strip("-._")
    return f"; write for example {plain!r}" if re.match(context["pattern"], plain) else ""


def _truth_hint(value: object) -> str:
    text = str(value).lower()
    if text in ("yes", "on", "y", "1"):
        return "; write true"
    return "; write false" if text in ("no", "off", "n", "0") else ""
