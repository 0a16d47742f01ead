"""`tritonfleet bench` as a person uses it, on a fake engine."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tritonfleet.bench.doors import Place
from tritonfleet.cli.app import app
from tritonfleet.cli.bench import found_text
from tritonfleet.errors import RequestRefused, UsageError


def arguments(place: Place, *options: str) -> list[str]:
    fixed = ["--url", place.where, "--door", "engine", "-m", "llama", "--max-tokens", "4", "--processes", "1"]
    return ["bench", *fixed, *options]


def bench(place: Place, *options: str) -> Result:
    return CliRunner().invoke(app, arguments(place, *options))


def test_loads_give_a_table_a_json_result_and_a_plot(engine: Place, tmp_path: Path) -> None:
    result, plot = tmp_path / "b.json", tmp_path / "b.png"
    done = bench(engine, "-c", "1,3", "--requests", "6", "--json", str(result), "--plot", str(plot))
    assert done.exit_code == 0, done.output
    assert "3 streams" in done.output
    levels = json.loads(result.read_text())["levels"]
    assert [(level["streams"], level["requests"], level["errors"]) for level in levels] == [(1, 6, {}), (3, 6, {})]
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_failed_requests_are_shown_by_kind_and_make_the_exit_code_1(faulty: Place) -> None:
    done = bench(faulty, "--requests", "4")
    if isinstance(done.exception, RequestRefused):
        # The engine fails every second request, and the one that tries the door out was among them.
        done = bench(faulty, "--requests", "4")
    assert done.exit_code == 1
    assert "1 stream: 2 x RequestRefused, for example: the engine answered 500" in done.output


def test_the_search_says_how_many_streams_hold_the_goal(engine: Place, tmp_path: Path) -> None:
    result = tmp_path / "f.json"
    options = ("--find-concurrency", "--ttft-goal", "1h", "--max-concurrency", "2", "--json", str(result))
    done = bench(engine, *options, "--requests", "4")
    assert done.exit_code == 0, done.output
    assert "holds up to 2 streams, where the search ended" in done.output
    assert json.loads(result.read_text())["found"]["concurrency"] == 2


def test_ctrl_c_keeps_what_was_measured(engine: Place) -> None:
    options = ("--rate", "50,0.01", "--requests", "3")
    command = [sys.executable, "-m", "tritonfleet", *arguments(engine, *options)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("50 requests/s: 3/3 requests")
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "50 requests/s        3" in rest


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--requests", "1", "--duration", "1s"), "drop one of them"),
        (("--find-concurrency", "-c", "4"), "chooses the streams itself"),
        (("--plot", "x.jpg"), "let the name end in .png"),
        (("--json", "/nowhere/x.json"), "does not exist"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options: tuple[str, ...], message: str) -> None:
    done = bench(Place("engine", "engine", "unix:/nowhere", "llama"), *options)
    assert isinstance(done.exception, UsageError)
    assert message in str(done.exception)


def test_what_the_search_found_can_be_copied_into_the_spec() -> None:
    found = {"concurrency": 48, "missed": 52, "ttft_goal_seconds": 0.5, "percentile": 95.0}
    assert "scaling: {concurrency: 48, ttft_goal_seconds: 0.5}" in found_text(found)
    assert "does not hold at 1 stream" in found_text({**found, "concurrency": 0, "missed": 1})
