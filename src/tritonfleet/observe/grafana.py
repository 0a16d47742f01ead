"""Boards in Grafana's own format, written by Grafana's own types. Imports grafana-foundation-sdk."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, TypeAlias

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.builders.timeseries import Panel as Timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as model

from tritonfleet.observe.board import Board, Panel, Query, Variable

_HEIGHT = {"number": 4, "lines": 8}
_SOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
#: Grafana has no unit of its own for these: a suffix is a unit there.
_UNITS = {"tokens/s": "suffix:tok/s", "tokens": "suffix:tok"}
#: Firing alerts are drawn into every picture of lines.
_ALERTS = 'ALERTS{alertstate="firing",alertname=~"Tritonfleet.*",fleet=~"$fleet"}'

_AnyPanel: TypeAlias = Timeseries | Stat


def dashboard_json(board: Board) -> str:
    """Return the dashboard that Grafana imports, as stable JSON text."""
    made = (
        build.Dashboard(board.title)
        .uid(board.uid)
        .description(board.description)
        .tags(["tritonfleet", "llm"])
        .timezone("browser")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .time("now-1h", "now")
        .refresh("30s")
        .editable()
        .annotation(_alerts())
        .link(_others())
    )
    made.with_variable(build.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
    for variable in board.variables:
        made.with_variable(_variable(variable))
    numbers = iter(range(1, 1 + len(board.panels) + len(board.rows)))
    for row in board.rows:
        made.with_row(build.Row(row.title).id(next(numbers)))
        for panel in row.panels:
            made.with_panel(_panel(panel).id(next(numbers)))
    return json.dumps(made.build(), cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _alerts() -> build.AnnotationQuery:
    return build.AnnotationQuery().name("Alerts").datasource(_SOURCE).enable(True).icon_color("red").expr(_ALERTS)


def _others() -> build.DashboardLink:
    return (
        build.DashboardLink("tritonfleet")
        .type(model.DashboardLinkType.DASHBOARDS)
        .tags(["tritonfleet"])
        .include_vars(True)
        .keep_time(True)
    )


def _variable(variable: Variable) -> Any:
    match variable.kind:
        case "interval":
            chosen = model.VariableOption(text=variable.default, value=variable.default, selected=True)
            made: Any = build.IntervalVariable(variable.name).values(variable.query).current(chosen)
        case "text":
            made = build.TextBoxVariable(variable.name).default_value(variable.query)
        case "query":
            made = (
                build.QueryVariable(variable.name)
                .query(variable.query)
                .datasource(_SOURCE)
                .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
                .sort(model.VariableSort.ALPHABETICAL_ASC)
            )
            if variable.every:
                # Without a value of its own, "All" becomes the list of what is there now: names are never lost.
                everything = model.VariableOption(text="All", value="$__all", selected=True)
                made = made.multi(True).include_all(True).current(everything)
    return made.label(variable.label).description(variable.description)


def _panel(panel: Panel) -> _AnyPanel:
    made: _AnyPanel = _number(panel) if panel.kind == "number" else _lines(panel)
    made.title(panel.title).description(panel.description).datasource(_SOURCE)
    made.height(_HEIGHT[panel.kind]).span(panel.width)
    made.unit(_UNITS.get(panel.unit, panel.unit)).no_value(panel.no_value)
    if panel.minimum is not None:
        made.min(panel.minimum)
    if panel.maximum is not None:
        made.max(panel.maximum)
    if panel.decimals is not None:
        made.decimals(panel.decimals)
    if panel.levels:
        made.thresholds(_thresholds(panel))
    for letter, query in zip("ABCDEFGH", panel.queries, strict=False):
        made.with_target(_query(query, letter, instant=panel.kind == "number"))
    return made


def _number(panel: Panel) -> Stat:
    made = Stat().graph_mode(common.BigValueGraphMode.NONE)
    made.reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]))
    colour = common.BigValueColorMode.VALUE if panel.levels else common.BigValueColorMode.NONE
    return made.color_mode(colour)


def _lines(panel: Panel) -> Timeseries:
    legend = common_builders.VizLegendOptions().show_legend(True).placement(common.LegendPlacement.BOTTOM)
    legend.display_mode(common.LegendDisplayMode.LIST)
    tooltip = common_builders.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI)
    tooltip.sort(common.SortOrder.DESCENDING)
    made = Timeseries().legend(legend).tooltip(tooltip).line_width(1).show_points(common.VisibilityMode.NEVER)
    # A gap in the data stays a gap: it is never drawn as a line, nor as 0.
    made.span_nulls(False)
    if panel.stacked:
        made.stacking(common_builders.StackingConfig().mode(common.StackingMode.NORMAL)).fill_opacity(20)
    if panel.levels:
        made.thresholds_style(common_builders.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED))
    return made


def _thresholds(panel: Panel) -> build.ThresholdsConfig:
    levels: Iterable[tuple[float, str]] = sorted((panel.levels or {}).items())
    # The first step has no value: it is the colour below all others.
    steps = [
        model.Threshold(value=None if place == 0 else value, color=colour)
        for place, (value, colour) in enumerate(levels)
    ]
    return build.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps)


def _query(query: Query, letter: str, *, instant: bool) -> Dataquery:
    made = Dataquery().expr(query.expression).ref_id(letter).datasource(_SOURCE)
    if query.legend:
        made.legend_format(query.legend)
    return made.instant() if instant else made.range()
