"""`tritonfleet repository` and `tritonfleet spec` from the outside."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.repository.trees import GOOD, write_tree
from tests.sources.conftest import model_files, write_files
from tests.sources.s3 import Bucket
from tritonfleet.cli import repository, spec
from tritonfleet.errors import SourceError, SpecError, UsageError
from tritonfleet.spec import schema_text


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fleet.yaml with a local model and a demo model."""
    write_files(tmp_path / "model", model_files())
    monkeypatch.setenv("TRITONFLEET_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "fleet.yaml"
    path.write_text("models:\n- {name: one, source: ./model}\n- {name: two, source: 'demo://llama2'}\n")
    return path


def run(*words: str, app: object = repository.app, answer: str | None = None) -> Result:
    """Run a command; what it raises is in the result."""
    return CliRunner().invoke(app, list(words), input=answer)  # type: ignore[arg-type]


def test_render_writes_and_says_what_it_wrote(fleet: Path, tmp_path: Path) -> None:
    """A second time there is nothing to do; a model that left goes."""
    first = run("render", str(fleet), "-o", "out")
    assert first.exit_code == 0, first.exception
    assert "wrote out/one/config.pbtxt" in first.output
    assert first.output.endswith("out: 2 models, written\n")
    assert run("check", "out").output == "0 errors, 0 warnings\n"
    assert run("render", "-o", "out").output == "out: 2 models, up to date\n"
    fleet.write_text("models:\n- {name: one, source: ./model}\n")
    assert "removed out/two/config.pbtxt" in run("render", "-o", "out").output
    assert not (tmp_path / "out/two").exists()


def test_render_needs_no_weights(fleet: Path, tmp_path: Path) -> None:
    """The machine that renders need not be the one that serves."""
    (tmp_path / "model/model.safetensors").unlink()
    assert run("render", "-o", "out").exit_code == 0


def test_render_names_adapters_that_are_here(fleet: Path, tmp_path: Path) -> None:
    """Local ones by their whole path, remote ones as they are."""
    write_files(tmp_path / "lora", {"adapter_config.json": b"{}", "adapter_model.safetensors": b"w"})
    fleet.write_text("models:\n- {name: one, source: ./model, lora: {near: ./lora, far: 's3://b/far'}}\n")
    assert run("render", "-o", "out").exit_code == 0
    adapters = json.loads((tmp_path / "out/one/1/multi_lora.json").read_text())
    assert adapters == {"near": str(tmp_path / "lora"), "far": "s3://b/far"}


def test_check_exits_with_1_on_errors_only(tmp_path: Path) -> None:
    """Warnings alone are no failure."""
    write_tree(tmp_path, GOOD | {"docs/x": ""})
    assert run("check", str(tmp_path)).exit_code == 0
    (tmp_path / "llm/1/model.json").write_text("{")
    result = run("check", str(tmp_path))
    assert result.exit_code == 1
    assert "llm/1/model.json:1: error: is not JSON" in result.output
    assert result.output.endswith("1 error, 1 warning\n")


@pytest.fixture
def address(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> str:
    """A place in a bucket that the environment reaches."""
    for name, value in bucket.environ.items():
        monkeypatch.setenv(name, value)
    return f"s3://{bucket.name}/repository"


def test_push_and_pull(address: str, tmp_path: Path) -> None:
    """What was done is said in one line."""
    folder = str(write_tree(tmp_path / "repository", GOOD))
    assert f"{address}: 6 copied" in run("push", folder, address).output
    assert "0 copied (0 B), 6 unchanged" in run("push", folder, address).output
    assert "6 copied" in run("pull", address, str(tmp_path / "copy")).output
    assert run("check", str(tmp_path / "copy")).exit_code == 0


def test_a_dry_run_does_nothing(address: str, bucket: Bucket, tmp_path: Path) -> None:
    """It shows the names and the size."""
    folder = str(write_tree(tmp_path / "repository", GOOD))
    result = run("push", folder, address, "--dry-run")
    assert "copy llm/config.pbtxt" in result.output
    assert "6 to copy" in result.output
    assert bucket.contents("repository") == {}


def test_a_broken_repository_is_not_pushed(address: str, bucket: Bucket, tmp_path: Path) -> None:
    """Unless the person insists."""
    folder = str(write_tree(tmp_path / "repository", GOOD | {"llm/1/model.json": "{"}))
    result = run("push", folder, address)
    assert isinstance(result.exception, UsageError)
    assert "correct the errors above, or add --no-check" in str(result.exception)
    assert "llm/1/model.json:1: error" in result.output
    assert bucket.contents("repository") == {}
    assert run("push", folder, address, "--no-check").exit_code == 0


def test_deleting_asks(address: str, bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a terminal it needs --yes; no deletes nothing."""
    folder = write_tree(tmp_path / "repository", GOOD)
    run("push", str(folder), address)
    write_tree(folder, {"new/config.pbtxt": 'backend: "python"', "new/1/model.py": "x = (", "llm/1/note": ""})
    run("push", str(folder), address, "--no-check")
    for name in ("new/1/model.py", "new/config.pbtxt", "llm/1/note"):
        (folder / name).unlink()
    (folder / "new/1").rmdir()
    (folder / "new").rmdir()
    assert "3 only there (--delete removes them)" in run("push", str(folder), address).output
    result = run("push", str(folder), address, "--delete")
    assert isinstance(result.exception, UsageError)
    assert "add --yes to agree without a terminal" in str(result.exception)
    monkeypatch.setattr("tritonfleet.cli.repository.on_terminal", lambda: True)
    refused = run("push", str(folder), address, "--delete", answer="n\n")
    assert refused.exit_code == 1
    assert "delete new/config.pbtxt" in refused.output
    assert "llm/1/note" in bucket.contents("repository")
    agreed = run("push", str(folder), address, "--delete", answer="y\n")
    assert "3 deleted" in agreed.output
    assert set(bucket.contents("repository")) == set(GOOD)


def test_spec_schema_prints_the_published_schema() -> None:
    """For editors."""
    assert run("schema", app=spec.app).output == schema_text()


def test_spec_check_says_what_it_looked_at(fleet: Path) -> None:
    """Remote sources are not asked."""
    result = run("check", str(fleet), app=spec.app)
    assert result.output == f"{fleet}: fleet 'fleet' is right; models: one, two\n"
    fleet.write_text("models:\n- {name: one, source: ./model}\n- {name: two, source: hf://org/name}\n")
    assert "1 source is remote and not asked" in run("check", app=spec.app).output


def test_spec_check_refuses(fleet: Path, tmp_path: Path) -> None:
    """A wrong key, and a source that is not there."""
    fleet.write_text("model: x")
    assert isinstance(run("check", app=spec.app).exception, SpecError)
    fleet.write_text("models:\n- {name: one, source: ./modell}\n")
    error = run("check", app=spec.app).exception
    assert isinstance(error, SourceError)
    assert f"did you mean {tmp_path / 'model'}?" in str(error)
