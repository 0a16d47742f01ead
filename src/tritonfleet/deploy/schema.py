"""The parts of the chart's values.schema.json that come from the spec. Pure."""

from __future__ import annotations

import json
from typing import Any

from tritonfleet.spec.models import json_schema

#: Sections of fleet.yaml that the chart writes itself.
_CHARTS_OWN = ("models", "doors", "runtimes")


def chart_schema(text: str) -> str:
    """Return the values schema in *text* with what the spec says of a fleet and of a model put into its ``$defs``."""
    schema = json.loads(text)
    spec: dict[str, Any] = json.loads(json.dumps(json_schema()))
    defs = spec["$defs"]
    model = defs.pop("ModelSpec")
    for key in ("name", "scaling"):
        model["properties"].pop(key)
    model["required"] = ["source"]
    fleet = {
        "type": "object",
        "additionalProperties": False,
        "required": ["name", "lifecycle"],
        "properties": {key: value for key, value in spec["properties"].items() if key not in _CHARTS_OWN},
    }
    schema["$defs"] = {"fleet": fleet, "model": model} | {
        name: part for name, part in sorted(defs.items()) if name in _used({"fleet": fleet, "model": model}, defs)
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _used(parts: dict[str, Any], defs: dict[str, Any]) -> set[str]:
    """Return the definitions that *parts* refer to, directly or by way of others."""
    found: set[str] = set()
    todo = [json.dumps(parts)]
    while todo:
        text = todo.pop()
        fresh = {name for name in defs if f'"#/$defs/{name}"' in text} - found
        found |= fresh
        todo += [json.dumps(defs[name]) for name in fresh]
    return found
