"""Where in the YAML text a value stands: pydantic's locations against the parsed nodes."""

from __future__ import annotations

import re

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tritonfleet.errors import SpecError

Location = tuple[int | str, ...]


class Loader(yaml.SafeLoader):
    """YAML as people read it: only true and false are booleans (not off, no, y), and dates are text."""


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":bool", ":timestamp"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:[Tt]rue|TRUE|[Ff]alse|FALSE)$"), list("tTfF"))


def by_location(err: ValidationError, node: yaml.Node | None) -> dict[Location, list[ErrorDetails]]:
    """Group problems by their place in the file; of a union every branch complains about the same place."""
    found: dict[Location, list[ErrorDetails]] = {}
    for detail in err.errors(include_url=False):
        found.setdefault(_location(node, detail), []).append(detail)
    # A list that is wrong inside is also none of the words that could stand in its place; that needs no telling.
    return {
        place: details
        for place, details in found.items()
        if any(detail["type"] != "literal_error" for detail in details)
        or not any(other != place and other[: len(place)] == place for other in found)
    }


def _location(node: yaml.Node | None, detail: ErrorDetails) -> Location:
    """Return pydantic's location without the names of union branches, which are not in the file."""
    parts: list[int | str] = []
    last = len(detail["loc"]) - 1
    for position, part in enumerate(detail["loc"]):
        child = _child(node, part)
        if child is not None:
            node = child[1]
            parts.append(part)
        elif detail["type"] == "missing" and position == last:
            parts.append(part)
    return tuple(parts)


def _child(node: yaml.Node | None, part: int | str) -> tuple[int, yaml.Node] | None:
    """Return line (from 1) and node of a key or an index; None if it is not in the file."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(part):
                return key.start_mark.line + 1, value
    elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        value = node.value[part]
        return value.start_mark.line + 1, value
    return None


def line_at(node: yaml.Node | None, location: Location) -> int:
    """Return the line (from 1) of the deepest node that *location* reaches."""
    line = 1
    for part in location:
        child = _child(node, part)
        if child is None:
            break
        line, node = child
    return line


def text_at(node: yaml.Node | None, location: Location) -> str | None:
    """Return the scalar at *location* as it was written; None if there is none."""
    for part in location:
        child = _child(node, part)
        if child is None:
            return None
        node = child[1]
    return str(node.value) if isinstance(node, yaml.ScalarNode) else None


def line_of_words(node: yaml.Node | None, message: str) -> int | None:
    """Return the line of the first place that *message* names: ``doors.http``, or a name that is there twice."""
    for found in re.finditer(r"[a-z_]+(?:\.[a-z_]+)+", message):
        location = tuple(found[0].split("."))
        if line_at(node, location) != line_at(node, location[:-1]):
            return line_at(node, location)
    if pool := re.search(r"the pool of '([^']+)' is", message):
        return _line_of_pool(node, pool[1])
    twice = re.search(r"the name '([^']+)' is used twice", message)
    return _second_use(node, twice[1]) if twice else None


def _line_of_pool(node: yaml.Node | None, name: str) -> int | None:
    """Return the line of ``pool`` of the model called *name*."""
    models = _child(node, "models")
    entries = models[1].value if models and isinstance(models[1], yaml.SequenceNode) else ()
    return next((line_at(entry, ("pool",)) for entry in entries if text_at(entry, ("name",)) == name), None)


def _second_use(node: yaml.Node | None, name: str) -> int | None:
    """Return the line of the second model or adapter called *name*."""
    models = _child(node, "models")
    lines: list[int] = []
    for model in models[1].value if models and isinstance(models[1], yaml.SequenceNode) else ():
        if text_at(model, ("name",)) == name:
            lines.append(line_at(model, ("name",)))
        lora = _child(model, "lora")
        if lora and (adapter := _child(lora[1], name)):
            lines.append(adapter[0])
    return lines[1] if len(lines) > 1 else None


def refuse_odd_nodes(node: yaml.Node | None, name: str, parents: tuple[yaml.Node, ...] = ()) -> None:
    """Raise SpecError for a key that is there twice or is no text, and for a value that contains itself."""
    if node is not None and any(node is parent for parent in parents):
        raise SpecError(f"{name}:{node.start_mark.line + 1}: this value contains itself; write it out")
    if isinstance(node, yaml.MappingNode):
        _refuse_odd_keys(node, name)
        for _, value in node.value:
            refuse_odd_nodes(value, name, (*parents, node))
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            refuse_odd_nodes(value, name, (*parents, node))


def _refuse_odd_keys(node: yaml.MappingNode, name: str) -> None:
    seen: dict[str, int] = {}
    for key, _ in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise SpecError(f"{name}:{line}: a key must be text, not a list or a mapping")
        if key.value in seen:
            raise SpecError(
                f"{name}:{line}: the key `{key.value}` stands already on line {seen[key.value]}; keep one of them"
            )
        seen[key.value] = line
