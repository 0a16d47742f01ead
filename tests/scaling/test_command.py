"""`tritonfleet plan --simulate-scaling` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tritonfleet.cli.app import app
from tritonfleet.errors import UsageError

FLEET = """\
name: demo
models:
- name: llama2
  source: demo://llama2
  replicas: 2
  scaling: {max_replicas: 4, concurrency: 8, ttft_goal_seconds: 1}
- {name: mistral7b, source: demo://mistral7b}
"""
TIMES = {"*": {"tpot_seconds": [[1, 0.02], [8, 0.03]], "prefill_tokens_per_second": 5000, "max_running": 8}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A fleet with a scaled model, a trace with a step, and measured times."""
    (tmp_path / "fleet.yaml").write_text(FLEET)
    (tmp_path / "times.json").write_text(json.dumps(TIMES))
    lines = []
    for number in range(900):
        at = number if number < 300 else 300 + (number - 300) / 20
        lines.append({"arrival_seconds": at, "model": "llama2", "prompt_tokens": 100, "output_tokens": 100})
    lines.append({"arrival_seconds": 1, "model": "mistral7b", "prompt_tokens": 10, "output_tokens": 10})
    (tmp_path / "trace.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


def run(folder: Path, *words: object, machine: tuple[str, ...] = ("--instance", "g5.12xlarge")) -> str:
    """Run the command and return what it printed; a FleetError comes through."""
    given = ["plan", str(folder / "fleet.yaml"), *machine, *map(str, words)]
    result = CliRunner().invoke(app, given)
    if result.exception:
        raise result.exception
    return result.stdout


def test_json_has_a_run_for_each_rule(folder: Path) -> None:
    """Replica-hours, cost, misses; the models that are left out say why."""
    words = ("--simulate-scaling", folder / "trace.jsonl", "--times", folder / "times.json")
    found = json.loads(run(folder, *words, "--start-minutes", "0.5,3", "--json"))
    assert [(entry["rule"], entry["start_minutes"]) for entry in found["runs"]] == [
        ("in flight", 0.5),
        ("blueprint", 0.5),
        ("in flight", 3.0),
        ("blueprint", 3.0),
        ("always 1", None),
        ("always 4", None),
    ]
    quick = found["runs"][0]
    assert quick["requests"] == 900
    assert quick["most_replicas"] > 1
    # Two engines, each on one of the four GPUs: half of the machine.
    assert quick["usd"] == pytest.approx(quick["replica_hours"] * 5.672 / 2)
    assert found["left_out"] == {"mistral7b": "has no scaling section in fleet.yaml"}


def test_the_table_and_the_picture(folder: Path) -> None:
    """Without measured times the speed is estimated from the GPU."""
    png = folder / "out.png"
    words = ("--simulate-scaling", folder / "trace.jsonl", "--start-minutes", "3", "--png", png)
    shown = run(folder, *words)
    assert "900 requests, goal: first token within 1.00 s" in shown
    assert "blueprint" in shown
    assert "mistral7b: has no scaling section" in shown
    assert png.read_bytes().startswith(b"\x89PNG")


def test_without_a_price_there_is_no_cost(folder: Path) -> None:
    """GPUs by kind have none."""
    words = ("--simulate-scaling", folder / "trace.jsonl", "--start-minutes", "3", "--json")
    found = json.loads(run(folder, *words, machine=("--gpus", "l4:4")))
    assert {entry["usd"] for entry in found["runs"]} == {None}


@pytest.mark.parametrize("minutes", ["x", "0", "3,-1", "", "nan", "inf"])
def test_wrong_start_times_are_refused(folder: Path, minutes: str) -> None:
    """With what to write."""
    with pytest.raises(UsageError, match=r"minutes above 0 .* for example 3,5,10"):
        run(folder, "--simulate-scaling", folder / "trace.jsonl", f"--start-minutes={minutes}")


def test_a_trace_of_other_models_is_refused(folder: Path) -> None:
    """With the near match."""
    line = {"arrival_seconds": 1, "model": "llama", "prompt_tokens": 10, "output_tokens": 10}
    (folder / "trace.jsonl").write_text(json.dumps(line))
    with pytest.raises(UsageError, match="did you mean llama2"):
        run(folder, "--simulate-scaling", folder / "trace.jsonl")


def test_a_fleet_without_scaling_is_told_what_to_write(folder: Path) -> None:
    """And for which model."""
    (folder / "fleet.yaml").write_text("models:\n- {name: llama2, source: demo://llama2}\n")
    line = {"arrival_seconds": 1, "model": "llama2", "prompt_tokens": 10, "output_tokens": 10}
    (folder / "trace.jsonl").write_text(json.dumps(line))
    with pytest.raises(UsageError, match=r"scaling section; write one for llama2 .* concurrency"):
        run(folder, "--simulate-scaling", folder / "trace.jsonl")


def test_start_minutes_need_a_trace(folder: Path) -> None:
    """They mean nothing without one."""
    with pytest.raises(UsageError, match="--start-minutes is for --simulate-scaling"):
        run(folder, "--start-minutes", "3")
