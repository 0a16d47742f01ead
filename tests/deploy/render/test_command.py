"""`tritonfleet deploy render`: files, what it says, mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.deploy.fleets import FLEETS, rendered
from tritonfleet.cli.app import app
from tritonfleet.deploy.writer import write
from tritonfleet.errors import UsageError
from tritonfleet.repository import check_repository

DEMO = Path(__file__).parents[3] / "examples/demo.yaml"
runner = CliRunner()


def test_a_folder_holds_all_that_install_sh_takes(tmp_path: Path) -> None:
    result = runner.invoke(app, ["deploy", "render", str(DEMO), "-o", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "fleet.yaml",
        "model_repository",
        "terraform.tfvars.json",
        "values.yaml",
    }
    assert not [entry for entry in check_repository(tmp_path / "out/model_repository") if entry.severity == "error"]
    assert json.loads((tmp_path / "out/terraform.tfvars.json").read_text())["models"] == ["llama2", "mistral7b"]
    assert "m7i.xlarge" in result.output


def test_a_second_run_touches_nothing(tmp_path: Path) -> None:
    arguments = ["deploy", "render", str(DEMO), "-o", str(tmp_path)]
    runner.invoke(app, arguments)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    result = runner.invoke(app, arguments)
    assert "up to date" in result.output
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_model_that_went_leaves_the_repository(tmp_path: Path) -> None:
    write(rendered(FLEETS["two-pools"]), tmp_path)
    changed = write(rendered(FLEETS["cpu"]), tmp_path)
    assert not (tmp_path / "model_repository/mistral7b").exists()
    assert tmp_path / "values.yaml" in changed


@pytest.mark.parametrize("text", ["llama2", "=g6.xlarge", "llama2="])
def test_an_instance_of_another_form_is_refused(text: str, tmp_path: Path) -> None:
    result = runner.invoke(app, ["deploy", "render", str(DEMO), "-o", str(tmp_path), "--instance", text])
    assert isinstance(result.exception, UsageError)
    assert "is not of the form POOL=TYPE" in str(result.exception)


def test_a_file_in_the_way_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        write(rendered(FLEETS["cpu"]), tmp_path / "file")
