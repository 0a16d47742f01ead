"""`tritonfleet plan` from the command line, on the demo models."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tritonfleet.cli.app import app
from tritonfleet.errors import CapacityError, SourceError, UsageError

FLEET = """\
name: demo
models:
- {name: llama2, source: demo://llama2}
- {name: mistral7b, source: demo://mistral7b}
"""


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    """A fleet of the two demo models."""
    path = tmp_path / "fleet.yaml"
    path.write_text(FLEET)
    return path


def run(*words: object) -> str:
    """Run the command and return what it printed; a FleetError comes through."""
    result = CliRunner().invoke(app, ["plan", *map(str, words)])
    if result.exception:
        raise result.exception
    return result.stdout


def test_json_of_a_gpu(fleet: Path) -> None:
    """Sizes come from the models' own files."""
    data = json.loads(run(fleet, "--gpus", "h200:1", "--json"))
    assert [replica["gpus"] for replica in data["replicas"]] == [[0], [0]]
    assert 10_000_000 < data["replicas"][0]["weights_bytes"] < 12_000_000
    assert data["gpus"][0]["used_bytes"] + data["gpus"][0]["free_bytes"] == data["gpus"][0]["total_bytes"]
    assert not any("config.json alone" in note for note in data["notes"])


def test_without_a_machine_the_cheapest_instance_is_found(fleet: Path) -> None:
    """With its price and, for a rate, what a million tokens cost."""
    data = json.loads(run(fleet, "--json", "--tokens-per-second", 1000))
    assert data["machine"]["name"] == "g4dn.xlarge"
    assert data["cost"]["usd_per_million_tokens"] == pytest.approx(0.526 / 3.6)
    assert "per million tokens at 1,000" in run(fleet, "--tokens-per-second", 1000)


def test_a_rate_without_a_price_is_refused(fleet: Path) -> None:
    """GPUs by themselves are not for hire; the answer would lack what was asked for."""
    with pytest.raises(UsageError, match="the price of h200:1 is not known"):
        run(fleet, "--gpus", "h200:1", "--tokens-per-second", 1000)


def test_two_machines_are_one_too_many(fleet: Path) -> None:
    """Said before anything is read."""
    with pytest.raises(UsageError, match="give one of them"):
        run(fleet, "--gpus", "h200:1", "--here")


def test_a_fleet_that_does_not_fit_exits_with_the_arithmetic(fleet: Path) -> None:
    """CapacityError: exit code 4."""
    fleet.write_text(FLEET + "- {name: wide, source: demo://llama2, tensor_parallel: 2}\n")
    with pytest.raises(CapacityError, match=r"takes 2 GPU\(s\)") as caught:
        run(fleet, "--gpus", "h200:1")
    assert caught.value.exit_code == 4


def test_a_model_without_config_is_named(fleet: Path, tmp_path: Path) -> None:
    """By the resolver of sources, as everywhere."""
    (tmp_path / "empty").mkdir()
    fleet.write_text("models:\n- {name: a, source: ./empty}\n")
    with pytest.raises(SourceError, match=r"config\.json"):
        run(fleet, "--gpus", "h200:1")


def test_the_picture_is_a_png(fleet: Path, tmp_path: Path) -> None:
    """Drawn without a display."""
    run(fleet, "--gpus", "h200:2", "--png", tmp_path / "plan.png")
    data = (tmp_path / "plan.png").read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(data) > 10_000


def test_without_matplotlib_the_extra_is_named(fleet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan itself needs no matplotlib."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UsageError, match=r"tritonfleet\[plot\]"):
        run(fleet, "--gpus", "h200:1", "--png", tmp_path / "plan.png")


def test_a_picture_that_cannot_be_written_is_named(fleet: Path, tmp_path: Path) -> None:
    """With the path and the reason."""
    with pytest.raises(UsageError, match=r"missing/plan\.png cannot be written"):
        run(fleet, "--gpus", "h200:1", "--png", tmp_path / "missing" / "plan.png")
