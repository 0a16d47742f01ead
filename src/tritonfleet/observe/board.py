"""What a dashboard is made of, before Grafana's format: plain values. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Unit = Literal["short", "reqps", "s", "percentunit", "watt", "currencyUSD", "celsius", "tokens/s", "tokens", "MiB"]
Level = Literal["green", "yellow", "red", "blue"]

#: Grafana's grid.
COLUMNS = 24


@dataclass(frozen=True)
class Query:
    """One PromQL expression and how its lines are called."""

    expression: str
    legend: str = ""
    """Grafana's template, for example ``p95 {{model}}``."""


@dataclass(frozen=True)
class Panel:
    """One picture: what it shows, and what to do about it."""

    title: str
    description: str
    """What it means, and what to do."""
    queries: tuple[Query, ...]
    unit: Unit = "short"
    kind: Literal["lines", "number"] = "lines"
    width: int = 8
    """Of the 24 columns."""
    minimum: float | None = 0
    maximum: float | None = None
    levels: Mapping[float, Level] | None = None
    """Colour from a value on; what is below the first is green."""
    no_value: str = "no data"
    """Shown where the query returns nothing: a missing value is never shown as 0."""
    stacked: bool = False
    decimals: int | None = None


@dataclass(frozen=True)
class Row:
    """Panels under one heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Variable:
    """A choice at the top of the dashboard."""

    name: str
    label: str
    description: str
    kind: Literal["query", "interval", "text"]
    query: str
    """PromQL template function, comma-separated durations, or the text."""
    every: bool = False
    """Whether several, or all, may be chosen at once."""
    default: str = ""


@dataclass(frozen=True)
class Board:
    """One dashboard."""

    uid: str
    title: str
    description: str
    variables: tuple[Variable, ...]
    rows: tuple[Row, ...]

    @property
    def panels(self) -> tuple[Panel, ...]:
        """All panels, in the order of the page."""
        return tuple(panel for row in self.rows for panel in row.panels)
