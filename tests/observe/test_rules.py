"""The rules in the real promtool: what fires, what does not, and that the files of the chart are current."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.observe.cases import CASES, FAST, SLOW, Case, engine, first_tokens
from tritonfleet.observe import RUNBOOK, Goals, TtftGoal, all_alerts, rule_files, write_files
from tritonfleet.observe.rules import FILE

CHART = Path(__file__).parents[2] / "deploy/helm/tritonfleet/rules"
PROMTOOL = shutil.which("promtool")

needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is missing; apt-get install prometheus")


def promtool(*words: str | Path) -> str:
    """Run promtool; fail with its words."""
    assert PROMTOOL is not None
    done = subprocess.run([PROMTOOL, *words], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def check(folder: Path, cases: Sequence[Case] = (), tests: Sequence[dict[str, Any]] = (), **how: Any) -> None:
    """Write the rules and run promtool's unit tests on them."""
    (rules,) = write_files(rule_files(**how), folder)
    test = {
        "rule_files": [str(rules)],
        "evaluation_interval": f"{cases[0].step if cases else 1}m",
        "tests": [*(case.to_dict() for case in cases), *tests],
    }
    (folder / "test.yaml").write_text(yaml.safe_dump(test))
    promtool("test", "rules", folder / "test.yaml")


def test_the_chart_has_the_current_rules() -> None:
    """`tritonfleet observe rules -o deploy/helm/tritonfleet/rules` would change nothing."""
    assert {path.name: path.read_text() for path in CHART.iterdir()} == {
        path.name: text for path, text in rule_files().items()
    }


@needs_promtool
def test_prometheus_accepts_the_rules() -> None:
    """Syntax, durations and templates are right."""
    assert "SUCCESS" in promtool("check", "rules", CHART / FILE)


@needs_promtool
@pytest.mark.parametrize("step", sorted({case.step for case in CASES}))
def test_the_right_alerts_fire_and_no_others(step: int, tmp_path: Path) -> None:
    """Every situation of the table, in promtool's own engine."""
    check(tmp_path, [case for case in CASES if case.step == step])


def test_every_alert_is_tried_firing_and_silent() -> None:
    """No alert goes untried; each case in which others fire, or none, is one in which it is silent."""
    fired = [alert for case in CASES for alert, _ in case.firing]
    assert set(fired) == {alert.name for alert in all_alerts()}
    assert sum(not list(case.firing) for case in CASES) >= len(all_alerts())


@needs_promtool
def test_a_wrong_expectation_is_told(tmp_path: Path) -> None:
    """A case that expects silence of a failed engine does not pass: the table can fail."""
    with pytest.raises(AssertionError, match="TritonfleetModelDown"):
        check(tmp_path, [Case("down and silent", engine("failed"), 3)])


@needs_promtool
def test_texts_are_filled_in(tmp_path: Path) -> None:
    """Summary, description and link of an alert, as a person gets them."""
    case = Case("", engine(lasts="x10"), 25).to_dict()
    missing = {
        "exp_labels": {"severity": "critical", "fleet": "f", "pool": "m"},
        "exp_annotations": {
            "summary": "No metrics from pool m of fleet f",
            "description": "Prometheus had them within the last hour, or never; every other alert is blind until they "
            "are back.",
            "runbook_url": f"{RUNBOOK}#tritonfleetscrapemissing",
        },
    }
    asked = {"eval_time": "25m", "alertname": "TritonfleetScrapeMissing", "exp_alerts": [missing]}
    check(tmp_path, tests=[{**case, "promql_expr_test": [], "alert_rule_test": [asked]}])


@needs_promtool
def test_a_pool_that_scales_to_zero_may_go_away(tmp_path: Path) -> None:
    """The same series that alert for another pool are silent for this one."""
    check(tmp_path, [Case("gone", engine(lasts="x10"), 25)], scaled_to_zero=["m"])


@needs_promtool
def test_models_have_goals_of_their_own(tmp_path: Path) -> None:
    """A model is watched at its own goal, all others at the common one."""
    strict = Goals(TtftGoal(10.0), {"m": TtftGoal(0.5, 0.95)})
    late = first_tokens("0+60x99", "0+6x99", le="0.5")
    check(tmp_path, [Case("late by its own goal", late, 70, [FAST, SLOW])], goals=strict)
    others = Goals(TtftGoal(0.5, 0.95), {"other.model": TtftGoal(10.0)})
    check(tmp_path, [Case("late by the common goal", late, 70, [FAST, SLOW])], goals=others)


@needs_promtool
def test_a_lax_objective_takes_its_time(tmp_path: Path) -> None:
    """At 0.95 it takes three quarters of an hour until enough of the budget is spent; the page says so."""
    late = first_tokens("0+60x240", "0+60x180 10800x60")
    goals = Goals(TtftGoal(objective=0.95))
    silent, firing = Case("44 minutes", late, 224, [SLOW]), Case("46 minutes", late, 226, [FAST, SLOW])
    check(tmp_path, [silent, firing], goals=goals)
