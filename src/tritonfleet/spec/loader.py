"""Read fleet.yaml and report what is wrong with it: file, line, the value, and what to write instead."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tritonfleet.errors import SpecError
from tritonfleet.spec.models import FleetSpec

Location = tuple[int | str, ...]
#: A union shows up in pydantic's locations as the name of its branch ("literal['auto']", "tuple[...]").
_BRANCH = re.compile(
    r"^(literal|tuple|list|str|int|float|constrained|function-|lax-|is-instance|json-or-python|none)"
)


def load_spec(path: Path) -> FleetSpec:
    """Read the spec at *path*; raise SpecError naming file, line, value and fix."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SpecError(f"{path}: no such file; write one, or start from `tritonfleet init`") from None
    except (OSError, UnicodeDecodeError) as err:
        raise SpecError(f"{path}: cannot be read: {err}") from err
    return parse_spec(text, name=str(path))


def parse_spec(text: str, *, name: str = "fleet.yaml") -> FleetSpec:
    """Return the spec written in *text*; *name* stands for the file in messages."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        _refuse_duplicate_keys(node, name)
        data = yaml.safe_load(text)
    except yaml.MarkedYAMLError as err:
        mark = err.problem_mark or err.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise SpecError(f"{name}{line}: this is not YAML: {err.problem or err.context}") from err
    except yaml.YAMLError as err:
        raise SpecError(f"{name}: this is not YAML: {err}") from err
    if not isinstance(data, dict):
        raise SpecError(f"{name}:1: a fleet starts with keys such as `name:` and `models:`")
    try:
        return FleetSpec.model_validate(data)
    except ValidationError as err:
        lines = [_explain(name, node, detail) for detail in _plain_errors(err)]
        raise SpecError("\n".join(dict.fromkeys(lines))) from err


def _plain_errors(err: ValidationError) -> Iterator[ErrorDetails]:
    """Yield each problem once: of a union's branches only the first that complains."""
    seen: set[Location] = set()
    for detail in err.errors(include_url=False):
        location = _plain_location(detail["loc"])
        if location in seen:
            continue
        seen.add(location)
        yield detail


def _plain_location(loc: Sequence[int | str]) -> Location:
    return tuple(part for part in loc if not (isinstance(part, str) and _BRANCH.match(part)))


def _explain(name: str, node: yaml.Node | None, detail: ErrorDetails) -> str:
    location = _plain_location(detail["loc"])
    line = _line(node, location)
    where = f"{name}:{line}: {_dotted(location)}".rstrip()
    value = detail.get("input")
    match detail["type"]:
        case "extra_forbidden":
            return f"{where}: unknown key; {_near_key(location)}"
        case "missing":
            return f"{where}: this key is required; add `{location[-1]}: ...`"
        case "value_error":
            return (
                f"{where}: {detail['ctx']['error']}"
                if location
                else f"{name}:{line}: {detail['ctx']['error']}"
            )
        case "int_type" | "int_parsing" | "int_from_float":
            return f"{where}: {value!r} is not a whole number{_number_hint(value)}"
        case "float_type" | "float_parsing":
            return f"{where}: {value!r} is not a number{_number_hint(value)}"
        case "literal_error":
            return (
                f"{where}: {value!r} is not one of {detail['ctx']['expected']}{_near_choice(value, location)}"
            )
        case "string_pattern_mismatch":
            return f"{where}: {value!r} does not match {detail['ctx']['pattern']}"
        case "bool_type":
            return f"{where}: {value!r} is not true or false"
        case _:
            return f"{where}: {value!r}: {detail['msg'][0].lower()}{detail['msg'][1:]}"


def _number_hint(value: object) -> str:
    """Say what to write for '8k', '90s' or '2 GiB'."""
    if not isinstance(value, str):
        return "; write a number" if not isinstance(value, float) else f"; write {round(value)}"
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", value)
    if not found:
        return "; write a number such as 4096"
    factors = {
        "": 1,
        "k": 1024,
        "ki": 1024,
        "m": 60,
        "min": 60,
        "s": 1,
        "sec": 1,
        "seconds": 1,
        "ms": 0.001,
        "h": 3600,
    }
    number, unit = float(found[1]), found[2].lower()
    if unit not in factors:
        return f"; units are fixed, so write the number alone (not {unit!r})"
    result = number * factors[unit]
    return f"; write {result:g}" if result != int(result) else f"; write {int(result)}"


def _models_at(location: Location) -> type[BaseModel]:
    """Return the section that holds the key at *location*."""
    section: type[BaseModel] = FleetSpec
    for part in location[:-1]:
        if isinstance(part, int) or part not in section.model_fields:
            continue
        section = _section_in(section.model_fields[part].annotation) or section
    return section


def _section_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for arg in get_args(annotation) if (found := _section_in(arg))), None)


def _near_key(location: Location) -> str:
    known = list(_models_at(location).model_fields)
    near = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.5)
    return f"did you mean `{near[0]}`?" if near else f"known keys here: {', '.join(known)}"


def _near_choice(value: object, location: Location) -> str:
    section = _models_at(location)
    field = section.model_fields.get(str(location[-1])) if location else None
    choices = [str(choice) for choice in get_args(field.annotation)] if field else []
    near = difflib.get_close_matches(str(value), choices, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""


def _dotted(location: Location) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return text.lstrip(".")


def _line(node: yaml.Node | None, location: Location) -> int:
    """Return the line (from 1) of the deepest node that *location* reaches."""
    line = 1
    for part in location:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == str(part):
                    line, node = key.start_mark.line + 1, value
                    break
            else:
                return line
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            return line
    return line


def _refuse_duplicate_keys(node: yaml.Node | None, name: str) -> None:
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.value in seen:
                raise SpecError(
                    f"{name}:{line}: the key `{key.value}` stands already on line {seen[key.value]}; keep one of them"
                )
            seen[key.value] = line
            _refuse_duplicate_keys(value, name)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _refuse_duplicate_keys(value, name)
