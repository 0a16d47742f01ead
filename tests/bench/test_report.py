"""A comparison on paper."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from tests.bench.test_compare import turn
from tritonfleet.bench.compare import goals, rows
from tritonfleet.bench.report import markdown, replace_section, table, to_json
from tritonfleet.errors import UsageError

TURNS = [turn(0, "engine", 1.0, 0.010), turn(0, "grpc", 1.1, 0.012), turn(0, "engine", 1.0, 0.010, 8)]
ROWS = rows(TURNS, "engine")
GOALS = goals(ROWS, ratio=0.95, ttft_more_seconds=0.005)


def test_markdown() -> None:
    """The docs get the setting, a table and every goal, missed ones marked."""
    lines = markdown(ROWS, GOALS, "Measured on a machine.").splitlines()
    assert lines[0] == "Measured on a machine."
    assert lines[4].startswith("| 1 | engine | 20.0 |  | 10.0 ms |")
    assert lines[5].startswith("| 1 | grpc | 18.2 | 0.909 (0.909 to 0.909) | 12.0 ms | 12.0 ms | 12.0 ms | +2.00 ms")
    assert "- **missed**: grpc, 1 stream: 0.909 of the engine's tokens/s (goal >= 0.95)" in lines
    assert "- met: grpc, 1 stream: TTFT p50 +2.00 ms (goal <= +5 ms)" in lines


def test_table() -> None:
    """The terminal shows the same cells."""
    console = Console(file=io.StringIO(), width=200)
    console.print(table(ROWS))
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "0.909 (0.909 to 0.909)" in shown
    assert "engine 10.00, client 0.50" in shown


def test_json_holds_every_sample() -> None:
    """The JSON result can be worked on again."""
    data = json.loads(json.dumps(to_json(ROWS, GOALS, TURNS, {"cores": 2})))
    assert data["about"] == {"cores": 2}
    assert data["turns"][0]["samples"][0] == {
        "ttft_seconds": 0.01,
        "latency_seconds": 1.0,
        "output_tokens": 10,
        "gaps_seconds": [],
    }
    assert data["rows"][1]["ratio"]["value"] == pytest.approx(1 / 1.1)


def test_replace_section() -> None:
    """Only what stands between the marks changes, and doing it twice changes nothing more."""
    document = "a\n<!-- x:begin -->\nold\n<!-- x:end -->\nb\n"
    once = replace_section(document, "x", "new\n")
    assert once == "a\n<!-- x:begin -->\nnew\n<!-- x:end -->\nb\n"
    assert replace_section(once, "x", "new\n") == once
    with pytest.raises(UsageError, match="y:begin"):
        replace_section(document, "y", "new")
