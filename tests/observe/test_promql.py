"""Selectors and sums written from the table."""

from __future__ import annotations

import promql_parser
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.observe.reading import labels_of
from tritonfleet.metrics.table import SERIES
from tritonfleet.observe.promql import Queries, UnknownSeries, any_of, bound, total

FILTERED = Queries({"fleet": '="f"', "pool": '=~"p"', "model": '=~"m"'})


@given(st.sampled_from(sorted(SERIES)))
def test_a_filter_goes_where_the_metric_has_the_label(name: str) -> None:
    """Every series of the table can be selected, by those of the filters that fit it and no others."""
    parsed = promql_parser.parse(FILTERED.select(name))
    assert isinstance(parsed, promql_parser.VectorSelector)
    have = {matcher.name for matcher in parsed.matchers.matchers}
    assert have == set(FILTERED.filters) & set(SERIES[name].labels)


@given(st.sampled_from([name for name, metric in SERIES.items() if metric.kind == "histogram"]), st.data())
def test_quantiles_keep_the_buckets_until_they_are_taken(series: str, data: st.DataObject) -> None:
    """Whatever a quantile is grouped by, its result has just those labels."""
    metric = SERIES[series]
    by = data.draw(st.lists(st.sampled_from(metric.labels), unique=True))
    assert labels_of(FILTERED.quantile(0.95, by, metric.name)) == set(by)
    assert labels_of(FILTERED.mean(by, metric.name)) == set(by)


def test_a_matcher_wins_over_the_filter_of_its_label() -> None:
    """A query can be narrower than what the person chose."""
    assert FILTERED.select("tritonfleet_gateway_requests_waiting", model='="one"') == (
        'tritonfleet_gateway_requests_waiting{fleet="f",pool=~"p",model="one"}'
    )


def test_an_unknown_series_names_the_near_one() -> None:
    """The mistake is told when the dashboard is made, not by an empty panel."""
    with pytest.raises(UnknownSeries, match="did you mean 'vllm:num_requests_waiting'"):
        Queries().select("vllm:num_request_waiting")


def test_an_unknown_label_names_the_known_ones() -> None:
    """A gateway's metric has no pool."""
    with pytest.raises(UnknownSeries, match=r"no label 'replica'; it has .*model"):
        Queries().select("tritonfleet_gateway_requests_waiting", replica='="0"')


def test_le_is_a_label_of_buckets_only() -> None:
    """A histogram's sum has no bound."""
    with pytest.raises(UnknownSeries, match="no label 'le'"):
        Queries().select("vllm:time_to_first_token_seconds_sum", le='="1"')


@pytest.mark.parametrize(("seconds", "matcher"), [(1.0, '=~"1([.]0)?"'), (2.5, '="2.5"'), (0.001, '="0.001"')])
def test_bounds_are_found_as_every_client_writes_them(seconds: float, matcher: str) -> None:
    """Python writes 1.0, C++ writes 1."""
    assert bound(seconds) == matcher


def test_a_dot_in_a_name_is_a_dot() -> None:
    """Names are matched as they are, not as patterns."""
    assert any_of(["llama-3.1", "x"]) == "llama-3[.]1|x"


def test_a_sum_of_several_is_a_sum_of_their_union() -> None:
    """Where one is missing, the others still count."""
    assert total(("model",), "a", "b") == "sum by (model) (a or b)"
    assert total((), "a") == "sum (a)"
