"""`tritonfleet observe` as a person uses it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from tests.observe.test_rules import needs_promtool, promtool
from tritonfleet.cli.app import app
from tritonfleet.errors import FleetError, UsageError
from tritonfleet.observe import scrape_config, target_of
from tritonfleet.spec import FleetSpec

FLEET = """\
name: shop
doors:
  openai: {host: 0.0.0.0, port: 9100}
models:
  - name: llama2
    source: demo://llama2
    scaling: {min_replicas: 0, max_replicas: 2, concurrency: 8, ttft_goal_seconds: 0.5}
  - {name: mistral7b, source: demo://mistral7b}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def observe(*words: str) -> str:
    """Run the command and return what it prints."""
    result = CliRunner().invoke(app, ["observe", *words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_dashboards_are_written(folder: Path) -> None:
    """Two files, each told."""
    said = observe("dashboards", "-o", "d", "--price-per-hour", "2")
    assert sorted(path.name for path in (folder / "d").iterdir()) == ["tritonfleet-model.json", "tritonfleet.json"]
    assert "wrote d/tritonfleet.json" in said


@needs_promtool
def test_what_is_written_together_works_together(folder: Path) -> None:
    """Prometheus takes the configuration and finds the rules beside it."""
    (folder / "fleet.yaml").write_text(FLEET)
    observe("rules")
    assert "for 127.0.0.1:9100" in observe("scrape-config")
    assert "1 rule files found" in promtool("check", "config", folder / "prometheus.yml")


def test_rules_know_the_fleet(folder: Path) -> None:
    """A model's own goal is watched at its bound, and a pool that scales to zero may go away."""
    (folder / "fleet.yaml").write_text(FLEET)
    assert "for fleet 'shop'" in observe("rules")
    text = (folder / "rules/tritonfleet.yaml").read_text()
    assert 'le="0.5",model="llama2"' in text.replace('fleet!="",', "")
    assert 'pool!~"llama2"' in text


@pytest.mark.parametrize(
    ("setting", "words", "link"),
    [
        ("", [], "http://127.0.0.1:9100/console/runbook"),
        ("observability: {runbook_url: https://wiki/llm}\n", [], "https://wiki/llm"),
        ("observability: {runbook_url: https://wiki/llm}\n", ["--runbook", "https://other"], "https://other"),
    ],
)
def test_alerts_link_to_the_runbook_that_the_fleet_names_or_serves(
    folder: Path, setting: str, words: list[str], link: str
) -> None:
    """The command line wins over fleet.yaml, and that over the page of the fleet's own console."""
    (folder / "fleet.yaml").write_text(FLEET + setting)
    observe("rules", *words)
    groups = yaml.safe_load((folder / "rules/tritonfleet.yaml").read_text())["groups"]
    alerts = [rule for group in groups for rule in group["rules"] if "alert" in rule]
    assert {alert["annotations"]["runbook_url"] for alert in alerts} == {
        f"{link}#{alert['alert'].lower()}" for alert in alerts
    }


def test_without_a_fleet_the_rules_serve_every_fleet() -> None:
    """No fleet.yaml here and none named."""
    assert "for every fleet" in observe("rules")


def test_a_goal_on_the_command_line_wins(folder: Path) -> None:
    """Of a model, and of all others."""
    (folder / "fleet.yaml").write_text(FLEET)
    observe("rules", "--ttft-goal", "llama2=10", "--ttft-goal", "0.25", "--objective", "0.98")
    text = (folder / "rules/tritonfleet.yaml").read_text()
    assert 'le=~"10([.]0)?"' in text
    assert 'le="0.25"' in text
    assert 'le="0.5"' not in text
    assert "/ 0.02" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--ttft-goal", "lama2=1"], "did you mean 'llama2'"),
        (["--ttft-goal", "qwen=1"], "it has llama2, mistral7b"),
        (["--ttft-goal", "soon"], "write seconds"),
        (["--ttft-goal", "llama2="], "write seconds"),
        (["--ttft-goal", "nan"], "take "),
        (["--objective", "95"], "below 1"),
        (["-o", "fleet.yaml/rules"], "choose another folder"),
    ],
)
def test_mistakes_are_told(folder: Path, words: list[str], message: str) -> None:
    """What was typed, why it cannot be, what to write; nothing is written."""
    (folder / "fleet.yaml").write_text(FLEET)
    with pytest.raises(FleetError, match=message):
        observe("rules", *words)
    assert not (folder / "rules").exists()


def test_targets_are_addresses() -> None:
    """What Prometheus would refuse at its start is refused here."""
    (text,) = scrape_config(["gpu-1:9000", "[::1]:9000"], 5).values()
    jobs = yaml.safe_load(text)["scrape_configs"]
    assert jobs[0]["static_configs"] == [{"targets": ["gpu-1:9000", "[::1]:9000"]}]
    for wrong in ("http://gpu-1:9000", "gpu-1", "gpu-1:9000/metrics", "gpu-1:123456"):
        with pytest.raises(UsageError, match="host:port"):
            scrape_config([wrong])


@pytest.mark.parametrize(
    ("host", "target"),
    [
        ("127.0.0.1", "127.0.0.1:9000"),
        ("0.0.0.0", "127.0.0.1:9000"),
        ("::", "127.0.0.1:9000"),
        ("fd00::1", "[fd00::1]:9000"),
    ],
)
def test_a_door_on_every_address_is_reached_on_this_machine(host: str, target: str) -> None:
    """Prometheus beside the fleet needs no further words."""
    spec = FleetSpec.model_validate(
        {"models": [{"name": "m", "source": "demo://llama2"}], "doors": {"openai": {"host": host, "port": 9000}}}
    )
    assert target_of(spec) == target
