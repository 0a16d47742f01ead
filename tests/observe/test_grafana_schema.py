"""The dashboards against Grafana's own types."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from tritonfleet.observe import dashboard_files

FOLDER = Path(__file__).with_name("grafana_schema")
#: Grafana reads these, and its published types do not name them: the query of an annotation, and what an interval may
#: choose by itself (the SDK writes it for every variable).
UNNAMED = {"expr", "auto", "auto_count", "auto_min"}
OPTIONS = {"stat": "StatOptions", "timeseries": "TsOptions"}
BOARDS = {path.name: json.loads(text) for path, text in dashboard_files().items()}


def complaints(schema: str, value: Any) -> Iterator[str]:
    """Yield what Grafana's type does not have or has otherwise, but for the unnamed fields."""
    validator = jsonschema.Draft7Validator(json.loads((FOLDER / f"{schema}.json").read_text()))
    for error in validator.iter_errors(value):
        extra = error.validator == "additionalProperties" and set(re.findall(r"'(\w+)'", error.message))
        if not (extra and extra <= UNNAMED):
            yield f"{error.json_path}: {error.message[:300]}"


@pytest.mark.parametrize("name", BOARDS)
def test_the_dashboard_is_what_grafana_takes(name: str) -> None:
    """No unknown field, no wrong value, in the page and in the options of every panel."""
    found = list(complaints("Dashboard", BOARDS[name]))
    for panel in BOARDS[name]["panels"]:
        if panel["type"] in OPTIONS:
            found += complaints(OPTIONS[panel["type"]], panel["options"])
        if panel["type"] == "timeseries":
            found += complaints("TsField", panel["fieldConfig"]["defaults"]["custom"])
    assert found == []


@pytest.mark.parametrize(
    ("schema", "wrong"),
    [("Dashboard", {"graphTooltip": 7}), ("Dashboard", {"titel": "x"}), ("StatOptions", {"graphMode": "some"})],
)
def test_a_mistake_is_found(schema: str, wrong: dict[str, Any]) -> None:
    """A wrong value or a misspelt field does not pass."""
    good = next(iter(BOARDS.values()))
    whole = (
        good
        if schema == "Dashboard"
        else next(p["options"] for p in BOARDS["tritonfleet.json"]["panels"] if p["type"] == "stat")
    )
    assert list(complaints(schema, {**whole, **wrong}))
