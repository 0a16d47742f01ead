"""Every query of the dashboards and rules fits the table of metrics."""

from __future__ import annotations

import re

import pytest

from tests.observe.reading import RECORDS, Wrong, labels_of, readable
from tritonfleet.observe import all_alerts, boards
from tritonfleet.observe.board import Panel, Query
from tritonfleet.observe.grafana import _ALERTS
from tritonfleet.observe.rule import Alert


@pytest.mark.parametrize(
    ("panel", "query"),
    [
        pytest.param(panel, query, id=f"{board.uid}-{panel.title}-{query.legend}")
        for board in boards()
        for panel in board.panels
        for query in panel.queries
    ],
)
def test_panels_ask_for_what_is_in_the_table(panel: Panel, query: Query) -> None:
    """Metrics, labels, groupings and matchings are possible, and the legend never comes out empty."""
    have = labels_of(readable(query.expression))
    assert set(re.findall(r"\{\{\s*(\w+)\s*\}\}", query.legend)) <= have


@pytest.mark.parametrize("name", sorted(RECORDS))
def test_recorded_queries_fit_the_table(name: str) -> None:
    """What is recorded exists and keeps fleet and model, by which everything is looked up."""
    assert labels_of(RECORDS[name]) >= {"fleet", "model"}


@pytest.mark.parametrize("alert", all_alerts(), ids=lambda alert: alert.name)
def test_alerts_fit_the_table_and_their_texts_fit_the_alert(alert: Alert) -> None:
    """Labels that the texts name are labels of the result, but for those that a text asks for with `if`."""
    have = labels_of(alert.expression)
    text = alert.summary + alert.description
    asked = set(re.findall(r"\{\{ if \$labels\.(\w+)", text))
    if asked:
        have |= {"fleet", *asked}
    assert set(re.findall(r"\$labels\.(\w+)", text)) <= have


def test_firing_alerts_are_drawn_by_their_common_name() -> None:
    """The annotation of the dashboards finds every alert."""
    pattern = re.search(r'alertname=~"([^"]+)"', _ALERTS)
    assert pattern is not None
    assert all(re.fullmatch(pattern[1], alert.name) for alert in all_alerts())


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("vllm:gpu_cache_usage_perc", "neither in the table"),
        ('vllm:num_requests_waiting{gpu="0"}', "no label"),
        ("sum by (replica) (tritonfleet_gateway_requests_waiting)", "does not have"),
        ("sum (vllm:num_requests_running or vllm:num_requests_waiting)", "same labels"),
        (
            "histogram_quantile(0.9, sum by (model) (rate(vllm:time_to_first_token_seconds_bucket[5m])))",
            "buckets are lost",
        ),
        ("vllm:num_requests_running / tritonfleet_replica_up", "never match"),
        ("tritonfleet_replica_up and on (group) tritonfleet_share_waiting", "one side does not have"),
        ("1 + 1", "a number"),
    ],
)
def test_the_reading_finds_what_is_wrong(expression: str, why: str) -> None:
    """Each kind of mistake is told; were it not, the tests above could not fail."""
    with pytest.raises(Wrong, match=why):
        labels_of(expression)
