"""`tritonfleet deploy render`: files, what it says, mistakes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from tests.deploy.fleets import FLEETS, rendered
from tritonfleet.cli.app import app
from tritonfleet.deploy.writer import write
from tritonfleet.errors import UsageError
from tritonfleet.repository import check_repository

ROOT = Path(__file__).parents[3]
DEMO = ROOT / "examples/demo.yaml"
DEPLOY = ROOT / "deploy"
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


def test_images_come_from_the_registry_that_is_named(tmp_path: Path) -> None:
    registry = "111122223333.dkr.ecr.us-west-2.amazonaws.com"
    arguments = ["deploy", "render", str(DEMO), "-o", str(tmp_path)]
    assert "the images have no registry" in runner.invoke(app, arguments).output
    assert "the images have no registry" not in runner.invoke(app, [*arguments, "--registry", registry]).output
    assert yaml.safe_load((tmp_path / "values.yaml").read_text())["image"] == {"registry": registry}


@pytest.mark.parametrize("name", FLEETS)
def test_the_scripts_of_the_deployment_read_it(name: str, tmp_path: Path) -> None:
    """install.sh merges the settings, refuses unknown keys, and asks for instance types by pool."""
    write(rendered(FLEETS[name]), tmp_path)
    settings, stacks = DEPLOY / "lib/settings.py", DEPLOY / "terraform/stacks"
    merge = [sys.executable, str(settings), "merge", str(stacks), str(tmp_path / "terraform.tfvars.json")]
    merged = subprocess.run(merge, capture_output=True, text=True, check=True).stdout
    (tmp_path / "inputs.json").write_text(merged)
    shell = [sys.executable, str(settings), "shell", str(tmp_path / "inputs.json")]
    lines = subprocess.run(shell, capture_output=True, text=True, check=True).stdout.splitlines()
    pools = json.loads(merged)["pools"]
    types = next(line for line in lines if line.startswith("types="))
    assert all(pool["instance_types"][0] in types for pool in pools.values())


@pytest.mark.parametrize("text", ["llama2", "=g6.xlarge", "llama2="])
def test_an_instance_of_another_form_is_refused(text: str, tmp_path: Path) -> None:
    result = runner.invoke(app, ["deploy", "render", str(DEMO), "-o", str(tmp_path), "--instance", text])
    assert isinstance(result.exception, UsageError)
    assert "is not of the form POOL=TYPE" in str(result.exception)


def test_a_file_in_the_way_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        write(rendered(FLEETS["cpu"]), tmp_path / "file")
