"""The dashboards in Grafana's format."""

from __future__ import annotations

import builtins
import json
import re
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from tritonfleet.errors import RuntimeMissing
from tritonfleet.observe import boards, dashboard_files
from tritonfleet.observe.board import COLUMNS, Board
from tritonfleet.observe.fleet_board import fleet_board

CHART = Path(__file__).parents[2] / "deploy/helm/tritonfleet/dashboards"
FILES = {path.name: json.loads(text) for path, text in dashboard_files().items()}
#: Grafana's own.
BUILT_IN = {"datasource", "__all"}


def test_the_chart_has_the_current_dashboards() -> None:
    """`tritonfleet observe dashboards -o deploy/helm/tritonfleet/dashboards` would change nothing."""
    assert {path.name: path.read_text() for path in CHART.iterdir()} == {
        path.name: text for path, text in dashboard_files().items()
    }


@pytest.mark.parametrize("board", boards(), ids=lambda board: board.uid)
def test_every_panel_says_what_it_shows(board: Board) -> None:
    """Titles differ, texts are sentences, and no panel asks more than its letters can name."""
    titles = [panel.title for panel in board.panels]
    assert len(titles) == len(set(titles))
    for panel in board.panels:
        assert panel.description.endswith((".", "?")), panel.title
        assert 1 <= len(panel.queries) <= 8


@pytest.mark.parametrize("name", FILES)
def test_panels_fill_the_grid_without_overlap(name: str) -> None:
    """Rows are full, nothing lies on anything, every id is there once."""
    panels = FILES[name]["panels"]
    places = [panel["gridPos"] for panel in panels]
    assert [panel["id"] for panel in panels] == list(range(1, len(panels) + 1))
    for one, other in combinations(places, 2):
        assert not (_meet(one, other, "x", "w") and _meet(one, other, "y", "h")), (one, other)
    by_line: dict[int, int] = {}
    for place in places:
        by_line[place["y"]] = by_line.get(place["y"], 0) + place["w"]
    assert set(by_line.values()) == {COLUMNS}


def _meet(one: Mapping[str, int], other: Mapping[str, int], start: str, size: str) -> bool:
    return one[start] < other[start] + other[size] and other[start] < one[start] + one[size]


@pytest.mark.parametrize("name", FILES)
def test_every_variable_is_defined_and_used(name: str) -> None:
    """No query asks for a choice that the page does not offer, and no choice does nothing."""
    variables = FILES[name]["templating"]["list"]
    defined = [variable["name"] for variable in variables]
    text = json.dumps(FILES[name])
    used = {first or second for first, second in re.findall(r"\$\{(\w+)\}|\$(\w+)", text)}
    assert used - BUILT_IN == set(defined) - BUILT_IN
    for place, variable in enumerate(variables):
        earlier = {*defined[:place], *BUILT_IN}
        asked = set(re.findall(r"\$(\w+)", str(variable.get("query", ""))))
        assert asked <= earlier, f"{variable['name']} asks for what is chosen after it"


@pytest.mark.parametrize("name", FILES)
def test_missing_data_is_never_drawn_as_zero(name: str) -> None:
    """A panel without data says so, and a gap stays a gap."""
    for panel in FILES[name]["panels"]:
        if panel["type"] == "row":
            continue
        defaults = panel["fieldConfig"]["defaults"]
        assert defaults["noValue"] not in ("", "0")
        if panel["type"] == "timeseries":
            assert defaults["custom"]["spanNulls"] is False


def test_numbers_are_asked_for_once_and_lines_over_time() -> None:
    """The kind of a query follows the kind of its panel."""
    for content in FILES.values():
        for panel in _drawn(content):
            for target in panel["targets"]:
                assert target["instant"] is (panel["type"] == "stat")
                assert target["datasource"]["uid"] == "${datasource}"


def _drawn(content: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return [panel for panel in content["panels"] if panel["type"] != "row"]


def test_the_price_is_where_the_choice_starts() -> None:
    """`--price-per-hour 3.2` is in the file."""
    (price,) = (variable for variable in fleet_board(3.2).variables if variable.name == "price")
    assert price.query == "3.2"


def test_without_the_extra_the_person_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package without its extra writes rules, and says what dashboards need."""
    real = builtins.__import__

    def refuse(name: str, *arguments: Any, **options: Any) -> Any:
        if name.startswith(("grafana_foundation_sdk", "tritonfleet.observe.grafana")):
            raise ImportError(f"No module named {name!r}", name="grafana_foundation_sdk")
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(RuntimeMissing, match=r"pip install 'tritonfleet\[observe\]'"):
        dashboard_files()
