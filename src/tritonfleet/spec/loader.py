"""Read fleet.yaml and report what is wrong with it: file, line, the value, and what to write instead."""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import ValidationError

from tritonfleet.errors import SpecError
from tritonfleet.spec.explain import explain
from tritonfleet.spec.models import FleetSpec
from tritonfleet.spec.places import Loader, Location, by_location, line_at, line_of_words, refuse_odd_nodes, text_at

#: The smallest fleet: it needs neither a GPU nor a download.
FIRST_SPEC = """\
models:
  - name: llama2
    source: demo://llama2
"""


def load_spec(path: Path) -> FleetSpec:
    """Read the spec at *path*; raise SpecError naming file, line, value and fix."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SpecError(f"{path}: there is no such file; a first one can be\n{FIRST_SPEC}") from None
    except IsADirectoryError:
        raise SpecError(f"{path}: this is a folder; name the fleet.yaml in it") from None
    except (OSError, UnicodeDecodeError) as err:
        raise SpecError(f"{path}: cannot be read: {err}") from err
    return parse_spec(text, name=str(path))


def parse_spec(text: str, *, name: str = "fleet.yaml") -> FleetSpec:
    """Return the spec written in *text*; *name* stands for the file in messages.

    Raises SpecError with one line for each problem.
    """
    try:
        node = yaml.compose(text, Loader=Loader)
        refuse_odd_nodes(node, name)
        data = yaml.load(text, Loader=Loader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as err:
        mark = err.problem_mark or err.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise SpecError(f"{name}{line}: this is not YAML: {err.problem or err.context}") from err
    except (yaml.YAMLError, ValueError, RecursionError) as err:  # huge numbers and a thousand brackets among them
        raise SpecError(f"{name}: this is not YAML: {err}") from err
    if not isinstance(data, dict):
        raise SpecError(f"{name}:1: a fleet starts with keys such as `name:` and `models:`")
    try:
        return FleetSpec.model_validate(data)
    except ValidationError as err:
        found = {
            place: explain(place, details, text_at(node, place)) for place, details in by_location(err, node).items()
        }
        lines = [_sentence(name, node, place, message) for place, message in found.items()]
        raise SpecError("\n".join(dict.fromkeys(lines))) from err


def _sentence(name: str, node: yaml.Node | None, place: Location, message: str) -> str:
    line = line_of_words(node, message) or line_at(node, place)
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")
    return f"{name}:{line}: {key}: {message}" if key else f"{name}:{line}: {message}"
