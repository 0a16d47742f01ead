"""`tritonfleet runtime ...` and `tritonfleet doctor` as a person types them."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from tests.runtimes.conftest import Workshop
from tritonfleet.cli.doctor import doctor
from tritonfleet.cli.runtime import app as runtime_app
from tritonfleet.errors import UsageError
from tritonfleet.progress import silent
from tritonfleet.runtimes import kinds
from tritonfleet.runtimes.build import build
from tritonfleet.runtimes.doctor import facts as doctor_facts

runner = CliRunner()
app = typer.Typer()
app.add_typer(runtime_app, name="runtime")
app.command()(doctor)


@pytest.fixture
def only_demo(workshop: Workshop, monkeypatch: pytest.MonkeyPatch, quick: None) -> Workshop:
    """The tiny kind stands in for `sglang`'s place in the table, with the test's cache."""
    kind = replace(workshop.kind, name="sglang")
    monkeypatch.setitem(kinds.KINDS, "sglang", kind)
    for name, value in {**workshop.environ, "TRITONFLEET_CACHE": str(workshop.cache)}.items():
        monkeypatch.setenv(name, value)
    return replace(workshop, kind=kind)


def test_install_list_and_remove(only_demo: Workshop) -> None:
    """The three commands agree on what is there."""
    folder = only_demo.store.folder(only_demo.kind)
    installed = runner.invoke(app, ["runtime", "install", "sglang"], catch_exceptions=False)
    assert installed.exit_code == 0
    assert f"sglang 2.0 (installed): {folder}/bin/python3" in installed.stdout
    listed = runner.invoke(app, ["runtime", "list", "--json"], catch_exceptions=False)
    entry = next(entry for entry in json.loads(listed.stdout) if entry["kind"] == "sglang")
    assert (entry["state"], entry["version"], entry["where"]) == ("installed", "2.0", str(folder))
    assert "sglang" in runner.invoke(app, ["runtime", "list"], catch_exceptions=False).stdout
    removed = runner.invoke(app, ["runtime", "remove", "sglang"], catch_exceptions=False)
    assert removed.stdout.startswith("removed sglang 2.0")
    assert not folder.exists()
    again = runner.invoke(app, ["runtime", "remove", "sglang"], catch_exceptions=False)
    assert "nothing was installed" in again.stdout


def test_a_mistyped_kind_stops_before_anything_is_built(only_demo: Workshop) -> None:
    """Also when it comes second."""
    result = runner.invoke(app, ["runtime", "install", "sglang", "tritn"])
    assert isinstance(result.exception, UsageError)
    assert "did you mean 'triton'" in str(result.exception)
    assert only_demo.store.all() == ()


def test_older_builds_are_listed_and_removed_too(only_demo: Workshop) -> None:
    """They hold gigabytes after an upgrade."""
    build(only_demo.kind, only_demo.store, only_demo.environ, silent)
    older = replace(only_demo.kind, pins=("beta==2.0",), verify="pass")
    build(older, only_demo.store, only_demo.environ, silent)
    listed = json.loads(runner.invoke(app, ["runtime", "list", "--json"]).stdout)
    assert [entry["state"] for entry in listed if entry["kind"] == "sglang"] == ["installed", "outdated"]
    removed = runner.invoke(app, ["runtime", "remove", "--outdated"], catch_exceptions=False)
    assert removed.stdout.count("removed") == 1
    assert [entry.folder for entry in only_demo.store.all()] == [only_demo.store.folder(only_demo.kind)]


def test_remove_without_a_kind_is_refused(only_demo: Workshop) -> None:
    """Nobody means to remove everything."""
    assert isinstance(runner.invoke(app, ["runtime", "remove"]).exception, UsageError)


def test_a_runtime_in_use_is_not_removed(only_demo: Workshop) -> None:
    """The message names the process."""
    built = build(only_demo.kind, only_demo.store, only_demo.environ, silent)
    user = subprocess.Popen([str(built.python), "-c", "input()"], stdin=subprocess.PIPE)
    try:
        with pytest.raises(UsageError, match=rf"in use by .*process {user.pid}"):
            only_demo.store.remove(only_demo.kind)
        assert only_demo.store.get(only_demo.kind) == built
    finally:
        user.communicate(b"\n", timeout=10)


def test_doctor_exits_with_1_when_something_must_be_mended(
    only_demo: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A port that is taken fails; with --json the same findings are data."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        doctor_facts, "_port", lambda door, host, port: doctor_facts.PortFact(door, host, port, "taken")
    )
    result = runner.invoke(app, ["doctor", "--json"], catch_exceptions=False)
    assert result.exit_code == 1
    findings = json.loads(result.stdout)
    assert {finding["check"] for finding in findings if finding["level"] == "fail"} >= {"ports"}
    text = runner.invoke(app, ["doctor"], catch_exceptions=False)
    assert text.exit_code == 1
    assert "mend:" in text.stdout


def test_doctor_reads_the_fleets_own_doors(only_demo: Workshop, tmp_path: Path) -> None:
    """Ports and engines come from the file."""
    spec = tmp_path / "fleet.yaml"
    doors = "".join(
        f"  {door}: {{port: {18611 + n}}}\n" for n, door in enumerate(("http", "grpc", "metrics", "openai"))
    )
    spec.write_text(f"models:\n  - {{name: m, source: 'demo://llama2'}}\ndoors:\n{doors}")
    result = runner.invoke(app, ["doctor", str(spec), "--json"], catch_exceptions=False)
    ports = next(finding for finding in json.loads(result.stdout) if finding["check"] == "ports")
    assert ports["detail"] == "http 18611, grpc 18612, metrics 18613, openai 18614 are free"


def test_the_command_line_needs_no_heavy_imports() -> None:
    """`tritonfleet --help` must not pay for rich's tables, psutil or NVML."""
    code = (
        "import sys, tritonfleet.cli.runtime, tritonfleet.cli.doctor; "
        "print([name for name in ('psutil', 'pynvml', 'tritonfleet.runtimes') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
