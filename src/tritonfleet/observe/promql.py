"""Write PromQL from the table of metrics: an unknown metric, or a label that the metric lacks, is an error. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tritonfleet.metrics.table import SERIES

#: Prometheus itself adds these to everything that it scrapes.
TARGET_LABELS = ("job", "instance")
#: Rules read over this window unless they say otherwise.
DEFAULT_WINDOW = "5m"


class UnknownSeries(ValueError):
    """A query names a series or a label that no part of the fleet tells."""


@dataclass(frozen=True)
class Queries:
    """Writes selectors; every one carries those of the filters whose labels the metric has."""

    filters: Mapping[str, str] = field(default_factory=dict)
    """Label to matcher with its operator, for example ``model`` to ``=~"$model"``."""
    window: str = DEFAULT_WINDOW
    """Range of rates, a duration or a Grafana variable."""

    def select(self, series: str, /, **matchers: str) -> str:
        """Return a selector; *matchers* are labels with operator and value, and win over the filters.

        Raises UnknownSeries.
        """
        metric = SERIES.get(series)
        if metric is None:
            near = difflib.get_close_matches(series, SERIES, 1)
            hint = f"; did you mean {near[0]!r}" if near else ""
            raise UnknownSeries(f"no metric of the table has the series {series!r}{hint}")
        known = {*metric.labels, *TARGET_LABELS} | ({"le"} if series.endswith("_bucket") else set())
        if strange := matchers.keys() - known:
            raise UnknownSeries(f"{series} has no label {min(strange)!r}; it has {', '.join(sorted(known))}")
        chosen = {label: text for label, text in self.filters.items() if label in known} | matchers
        inside = ",".join(f"{label}{text}" for label, text in chosen.items())
        return f"{series}{{{inside}}}" if inside else series

    def rate(self, series: str, /, window: str = "", **matchers: str) -> str:
        """Return the growth of a counter a second."""
        return f"rate({self.select(series, **matchers)}[{window or self.window}])"

    def rate_of(self, by: Sequence[str], series: str, /, window: str = "", **matchers: str) -> str:
        """Return the summed growth of a counter a second."""
        return total(by, self.rate(series, window, **matchers))

    def mean(self, by: Sequence[str], histogram: str, /, **matchers: str) -> str:
        """Return the mean of what a histogram observed within the window; nothing where it observed nothing."""
        observed = self.rate_of(by, f"{histogram}_count", **matchers)
        return f"{self.rate_of(by, f'{histogram}_sum', **matchers)} / ({observed} > 0)"

    def quantile(self, share: float, by: Sequence[str], histogram: str, /, **matchers: str) -> str:
        """Return a quantile of a histogram over all series of one *by*: buckets are added before it is taken."""
        return f"histogram_quantile({share:g}, {self.rate_of(('le', *by), f'{histogram}_bucket', **matchers)})"


def total(by: Sequence[str], *vectors: str) -> str:
    """Sum one vector, or the union of several: where one of them is missing, the others still count.

    `or` drops what has the same labels as something on its left, whatever the metric's name: the vectors of a union
    must come from metrics whose labels differ.
    """
    return f"{aggregate('sum', by)} ({' or '.join(vectors)})"


def aggregate(operator: str, by: Sequence[str]) -> str:
    """Return ``sum by (model)``, or ``sum`` alone."""
    return f"{operator} by ({', '.join(by)})" if by else operator


def bound(seconds: float) -> str:
    """Return the matcher of a bucket's upper bound as every client library writes it (``1`` and ``1.0``)."""
    text = f"{seconds:g}"
    return f'=~"{text}([.]0)?"' if "." not in text else f'="{text}"'


def any_of(names: Iterable[str]) -> str:
    """Return a regular expression body that matches exactly one of *names* inside a matcher."""
    return "|".join(name.replace(".", "[.]") for name in names)
