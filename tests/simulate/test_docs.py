"""docs/simulation.md says what the command and the code do."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path

from typer.testing import CliRunner

from tritonfleet.cli.app import app
from tritonfleet.simulate.speeds import MEMORY_EFFICIENCY, PREFILL_EFFICIENCY, read_times
from tritonfleet.simulate.trace import read_trace
from tritonfleet.supervisor.seats import Policy

TEXT = (Path(__file__).parents[2] / "docs/simulation.md").read_text(encoding="utf-8")


def test_every_option_of_trace_is_explained() -> None:
    """In its table."""
    shown = CliRunner().invoke(app, ["trace", "--help"], terminal_width=200, color=False).stdout
    options = set(re.findall(r"--[a-z][a-z-]+", re.sub(r"\x1b\[[0-9;]*m", "", shown))) - {"--help"}
    assert options
    assert all(f"`{option}`" in TEXT for option in options)


def test_the_examples_are_read(tmp_path: Path) -> None:
    """The line of a trace, and the file of times."""
    line, times = re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)
    (tmp_path / "t.jsonl").write_text(line)
    assert read_trace(tmp_path / "t.jsonl")[0].model == "llama2"
    (tmp_path / "times.json").write_text(json.dumps(json.loads(times)))
    assert read_times(tmp_path / "times.json")["*"].cold_start_seconds == 65


def test_the_settings_are_those_of_the_policy() -> None:
    """All that the spec has; the time for ended leases is the supervisor's own."""
    for field in fields(Policy):
        if field.name != "revoke_seconds":
            assert f"`{field.name.removesuffix('_seconds')}`" in TEXT


def test_the_numbers_are_those_of_the_code() -> None:
    """Change both."""
    assert f"times {MEMORY_EFFICIENCY} for memory" in TEXT
    assert f"times {PREFILL_EFFICIENCY} for arithmetic" in TEXT
