"""docs/scaling.md keeps up with the code."""

from __future__ import annotations

import re
from pathlib import Path

import typer
import yaml

from tritonfleet.cli.app import app
from tritonfleet.scaling import pool_rule
from tritonfleet.spec import ScalingSpec, parse_spec

TEXT = (Path(__file__).parents[2] / "docs/scaling.md").read_text(encoding="utf-8")


def test_every_key_is_in_the_table() -> None:
    """With its default, where it has a plain one."""
    rows = dict(re.findall(r"^\| `(\w+)` \|([^|]*)\|", TEXT, re.MULTILINE))
    assert rows.keys() == ScalingSpec.model_fields.keys()
    for name, field in ScalingSpec.model_fields.items():
        if field.is_required():
            assert not rows[name].strip()
        elif field.default is not None:
            assert float(rows[name]) == field.default


def test_the_example_is_a_fleet() -> None:
    """And its target is the one in the text."""
    text = re.search(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    assert text
    rule = pool_rule(parse_spec(text[1]), "chat", namespace="x", deployment="y")
    assert rule is not None
    assert rule.triggers[0].target == 48
    assert f"({rule.triggers[0].target:g} in the example)" in TEXT
    assert yaml.safe_load(text[1])["models"][0]["scaling"]["max_replicas"] == 8


def test_every_option_exists() -> None:
    """On `tritonfleet plan`; those of `bench` are its own."""
    named = set(re.findall(r"`(--[a-z-]+)", TEXT))
    command = typer.main.get_command(app)
    plan = command.commands["plan"]  # type: ignore[attr-defined]
    assert named <= {name for parameter in plan.params for name in parameter.opts}
    assert {"--simulate-scaling", "--start-minutes"} <= named


def test_links_and_pictures_exist() -> None:
    """Every file that the page points at."""
    docs = Path(__file__).parents[2] / "docs"
    for target in re.findall(r"\]\(([^)#]+)", TEXT):
        assert (docs / target).exists(), target
