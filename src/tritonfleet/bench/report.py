"""A comparison as a table for the terminal, as Markdown for the docs and as JSON. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table

from tritonfleet.bench.compare import Goal, Row, Turn
from tritonfleet.client.stats import duration_text, significant
from tritonfleet.errors import UsageError

HEADINGS = (
    "streams",
    "door",
    "tokens/s",
    "of engine's (95 %)",
    "TTFT p50",
    "TTFT p95",
    "TTFT p99",
    "TTFT p50 more (95 %)",
    "TPOT p50",
    "CPU s per 1,000 tokens",
)


def cells(row: Row) -> tuple[str, ...]:
    """Return the texts of a row, in the order of HEADINGS."""
    summary, ratio, more = row.summary, row.ratio, row.ttft_more
    return (
        str(row.streams),
        row.door,
        significant(summary.tokens_per_second),
        f"{ratio.value:.3f} ({ratio.low:.3f} to {ratio.high:.3f})" if ratio else "",
        duration_text(summary.ttft_p50),
        duration_text(summary.ttft_p95),
        duration_text(summary.ttft_p99),
        f"{more.value * 1e3:+.2f} ms ({more.low * 1e3:+.2f} to {more.high * 1e3:+.2f})" if more else "",
        duration_text(summary.tpot_p50) if summary.tpot_p50 is not None else "n/a",
        ", ".join(f"{group} {seconds:.2f}" for group, seconds in row.cpu_per_1000_tokens.items()),
    )


def table(rows: Sequence[Row]) -> Table:
    """Return the comparison for a terminal."""
    found = Table(box=None, pad_edge=False, header_style="bold")
    for number, heading in enumerate(HEADINGS):
        found.add_column(heading, justify="left" if number in (1, 9) else "right")
    before = rows[0].streams if rows else 0
    for row in rows:
        if row.streams != before:
            found.add_section()
            before = row.streams
        found.add_row(*cells(row))
    return found


def markdown(rows: Sequence[Row], goals: Sequence[Goal], setting: str) -> str:
    """Return the comparison for the docs: how it was made, the table, and each goal with met or missed."""
    lines = [setting, "", "| " + " | ".join(HEADINGS) + " |", "| " + " | ".join("---" for _ in HEADINGS) + " |"]
    lines += ["| " + " | ".join(cells(row)) + " |" for row in rows]
    lines += ["", *(f"- {'met' if goal.met else '**missed**'}: {goal.text}" for goal in goals)]
    return "\n".join(lines) + "\n"


def to_json(
    rows: Sequence[Row], goals: Sequence[Goal], turns: Sequence[Turn], about: Mapping[str, Any]
) -> dict[str, Any]:
    """Return everything that was measured, the samples included; times in seconds."""
    return {
        "about": dict(about),
        "rows": [asdict(row) for row in rows],
        "goals": [asdict(goal) for goal in goals],
        "turns": [asdict(turn) for turn in turns],
    }


def replace_section(document: str, name: str, text: str) -> str:
    """Return *document* with *text* between the comments ``<!-- NAME:begin -->`` and ``<!-- NAME:end -->``.

    Raises UsageError if the document has no such section.
    """
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    before, found, rest = document.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise UsageError(f"the document has no section {begin} ... {end}; add these two lines where the table belongs")
    return f"{before}{begin}\n{text.strip()}\n{end}{after}"
