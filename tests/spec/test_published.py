"""What is published about the spec: the JSON schema and the examples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml
from hypothesis import given, settings

from tests.spec.strategies import fleets
from tritonfleet.spec import json_schema, load_spec, parse_spec, schema_text

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "schema/fleet.schema.json"
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
FIRST_LINE = "# yaml-language-server: $schema=../schema/fleet.schema.json"


def test_the_published_schema_is_the_current_one() -> None:
    """Run `tritonfleet spec schema > schema/fleet.schema.json` after a change of the spec."""
    assert SCHEMA.read_text(encoding="utf-8") == schema_text()


def test_the_schema_is_one() -> None:
    """By the rules of its own draft, and it explains every key."""
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    sections = [schema, *schema["$defs"].values()]
    missing = [
        f"{section['title']}.{key}"
        for section in sections
        for key, entry in section["properties"].items()
        if not entry.get("description")
    ]
    assert missing == []


@settings(max_examples=30)
@given(fleets())
def test_the_schema_takes_what_the_reader_takes(fleet: dict[str, Any]) -> None:
    """An editor never marks a spec that works."""
    parse_spec(yaml.safe_dump(fleet, allow_unicode=True))
    jsonschema.validate(json.loads(json.dumps(fleet)), json_schema())


def test_the_schema_refuses_a_mistyped_key() -> None:
    """That is what an editor is for."""
    with pytest.raises(jsonschema.ValidationError, match="tensor_paralel"):
        jsonschema.validate({"models": [{"name": "a", "source": "x", "tensor_paralel": 2}]}, json_schema())


def test_there_are_examples() -> None:
    """The README points at them."""
    assert {path.name for path in EXAMPLES} >= {"demo.yaml", "gpu-two-models.yaml", "lora.yaml", "s3.yaml"}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_loads_and_fits_the_schema(path: Path) -> None:
    """Reader and editor agree about it."""
    text = path.read_text(encoding="utf-8")
    assert text.splitlines()[0] == FIRST_LINE
    assert load_spec(path).models
    jsonschema.validate(yaml.safe_load(text), json_schema())


def test_the_demo_fleet_is_as_documented() -> None:
    """Two models that come with the package, at the default ports."""
    spec = load_spec(ROOT / "examples/demo.yaml")
    assert {model.name: model.source for model in spec.models} == {
        "llama2": "demo://llama2",
        "mistral7b": "demo://mistral7b",
    }
    assert [getattr(spec.doors, name).port for name in ("http", "grpc", "metrics", "openai")] == [
        8000,
        8001,
        8002,
        9000,
    ]
