"""Replayed rules as a table for the terminal and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tritonfleet.client.stats import duration_text
from tritonfleet.simulate.scaling.comparison import Row


def to_json(rows: Sequence[Row], left_out: Mapping[str, str]) -> dict[str, Any]:
    """Return the rows as JSON values, times in seconds and ``miss_share`` from 0 to 1, and the models left out."""
    return {"runs": [_entry(row) for row in rows], "left_out": dict(left_out)}


def rows_view(rows: Sequence[Row], left_out: Mapping[str, str], notes: Sequence[str]) -> RenderableType:
    """Return a table for each model."""
    parts: list[RenderableType] = []
    for model in dict.fromkeys(row.model for row in rows):
        own = [row for row in rows if row.model == model]
        parts += [_heading(own[0]), _table(own), Text("")]
    parts += [Text(f"{model}: {why}", style="yellow") for model, why in left_out.items()]
    parts += [Text(f"note: {note}", style="yellow") for note in notes]
    return Group(*parts)


def _entry(row: Row) -> dict[str, Any]:
    # The looks are for the picture; a day has thousands of them.
    data = asdict(replace(row, run=replace(row.run, ttft_seconds=(), looks=())))
    del data["run"]
    return data | {"miss_share": row.miss_share}


def _heading(row: Row) -> Text:
    goal = duration_text(row.ttft_goal_seconds)
    return Text.assemble((row.model, "bold"), f"  {row.requests:,} requests, goal: first token within {goal}")


def _table(rows: Sequence[Row]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("RULE")
    for name in ("START", "MISSES", "TTFT P50", "P95", "HOURS", "COST", "MOST", "CHANGES"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            row.rule,
            "-" if row.start_minutes is None else f"{row.start_minutes:g} min",
            f"{row.miss_share:.2%}",
            duration_text(row.ttft_p50_seconds),
            duration_text(row.ttft_p95_seconds),
            f"{row.replica_hours:,.1f}",
            "-" if row.usd is None else f"${row.usd:,.2f}",
            str(row.most_replicas),
            str(row.changes),
        )
    return table
