"""Panels of GPUs and share groups in the real promtool, on series as the table has them."""

from __future__ import annotations

from pathlib import Path

import promql_parser
import pytest
import yaml
from promql_parser import VectorSelector

from tests.observe.elsewhere import ELSEWHERE, Elsewhere
from tests.observe.reading import readable
from tests.observe.test_rules import needs_promtool, promtool
from tritonfleet.metrics.table import SERIES
from tritonfleet.observe import boards
from tritonfleet.observe.board import Panel

PANELS = {panel.title: panel for board in boards() for panel in board.panels}
_CHOSEN = {"$fleet": "f", "$model": "llama2|mistral7b", "$pool": "g", "$host": "box"}


def _expression(text: str) -> str:
    for variable, value in _CHOSEN.items():
        text = text.replace(variable, value)
    return readable(text)


@needs_promtool
@pytest.mark.parametrize(("title", "instead"), ELSEWHERE.items(), ids=list(ELSEWHERE))
def test_panels_return_what_the_series_say(title: str, instead: Elsewhere, tmp_path: Path) -> None:
    """Every query of the panel, evaluated by Prometheus's own engine."""
    queries = [_expression(query.expression) for query in PANELS[title].queries]
    asked = [
        {
            "expr": query,
            "eval_time": "10m",
            "exp_samples": [{"labels": labels, "value": value} for labels, value in lines],
        }
        for query, lines in zip(queries, instead.results, strict=True)
    ]
    series = [{"series": name, "values": values} for name, values in instead.series.items()]
    test = {"tests": [{"interval": "1m", "input_series": series, "promql_expr_test": asked}]}
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(test))
    promtool("test", "rules", tmp_path / "test.yaml")


@pytest.mark.parametrize(("title", "instead"), ELSEWHERE.items(), ids=list(ELSEWHERE))
def test_the_series_are_those_of_the_table(title: str, instead: Elsewhere) -> None:
    """What a panel is tried on has the labels that the fleet tells; those of the DCGM exporter lack the fleet."""
    for text in instead.series:
        series = promql_parser.parse(text)
        assert isinstance(series, VectorSelector)
        metric = SERIES[str(series.name)]
        have = {matcher.name for matcher in series.matchers.matchers}
        assert have - {"le"} == set(metric.labels) - ({"fleet"} - have if metric.source == "gpu" else set())


def test_only_gpus_and_share_groups_are_tried_elsewhere() -> None:
    """No other panel may be excused from the real fleet."""

    def sources(panel: Panel) -> set[str]:
        text = " ".join(query.expression for query in panel.queries)
        return {metric.source for name, metric in SERIES.items() if name in text}

    excused = {title for title, panel in PANELS.items() if sources(panel) & {"gpu", "share"}}
    assert set(ELSEWHERE) == excused
    assert all(sources(PANELS[title]) <= {"gpu", "share"} for title in excused)
