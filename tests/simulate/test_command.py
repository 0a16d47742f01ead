"""`tritonfleet trace` and `tritonfleet plan --simulate` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tritonfleet.cli.app import app
from tritonfleet.errors import UsageError

FAKE = "engine: fake, source: demo://llama2, share: g, engine_args: {ttft_ms: 20, tpot_ms: 5}"
FLEET = f"models:\n- {{name: a, {FAKE}}}\n- {{name: b, {FAKE}}}\n"


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    """Two fake models that share a device."""
    path = tmp_path / "fleet.yaml"
    path.write_text(FLEET)
    return path


def run(*words: object) -> str:
    """Run the command and return what it printed; a FleetError comes through."""
    result = CliRunner().invoke(app, [*map(str, words)], env={"COLUMNS": "120"})
    if result.exception:
        raise result.exception
    return result.stdout


def test_a_trace_is_made_and_replayed(fleet: Path, tmp_path: Path) -> None:
    """As a table, as JSON and as a picture; with another policy beside the planned one."""
    trace = tmp_path / "trace.jsonl"
    trace.write_text(run("trace", fleet, "--seconds", 30, "--rate", 3, "--seed", 4))
    words = ["plan", fleet, "--gpus", "h200:1", "--simulate", trace, "--policy", "min_residency=5"]
    shown = run(*words, "--png", tmp_path / "t.png")
    for part in ("as planned", "min_residency=5", "restart on switch", "TTFT P50", "AWAKE"):
        assert part in shown
    assert (tmp_path / "t.png").read_bytes().startswith(b"\x89PNG")
    data = json.loads(run(*words, "--json"))
    first = data["scenes"][0]
    assert first["served"] == len(trace.read_text().splitlines())
    assert sum(model["served"] for model in first["models"].values()) == first["served"]
    assert data["scenes"][2]["ttft_p95"] > first["ttft_p95"]


def test_options_of_the_simulation_need_a_trace(fleet: Path) -> None:
    """Said before anything is read."""
    with pytest.raises(UsageError, match="are for --simulate TRACE"):
        run("plan", fleet, "--gpus", "h200:1", "--policy", "idle=1")


def test_what_would_be_ignored_is_refused(fleet: Path, tmp_path: Path) -> None:
    """Times of a model that is not there, with the near match; a policy where nobody takes turns."""
    trace, times = tmp_path / "trace.jsonl", tmp_path / "times.json"
    trace.write_text(run("trace", fleet, "--seconds", 5))
    times.write_text('{"aa": {"tpot_seconds": 0.01, "prefill_tokens_per_second": 1000}}')
    with pytest.raises(UsageError, match="did you mean a"):
        run("plan", fleet, "--gpus", "h200:1", "--simulate", trace, "--times", times)
    fleet.write_text(FLEET.replace(", share: g", ""))
    with pytest.raises(UsageError, match="no model of the fleet names a share group"):
        run("plan", fleet, "--gpus", "h200:1", "--simulate", trace, "--policy", "idle=1")
