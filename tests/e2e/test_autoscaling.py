"""The scaling rule on real parts: `scripts/prove_autoscaling.py` with short times and the fake engine.

The script's long run, with vLLM, is in docs/scaling.md.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tritonfleet.scaling import Rule, pool_rule, scaled_object
from tritonfleet.spec import parse_spec

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts/prove_autoscaling.py"

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(280)]


@pytest.fixture(scope="module")
def proof(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Run the script once and return what it saw."""
    for program in ("nginx", "prometheus"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is missing: apt-get install {program}")
    folder = tmp_path_factory.mktemp("proof")
    found = folder / "proof.json"
    argv = [sys.executable, str(SCRIPT), "--engine", "fake", "--quick", "--port", "21560", "--json", str(found)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=260, check=False)
    assert found.exists(), done.stderr[-6000:]
    result: dict[str, Any] = json.loads(found.read_text())
    result["log"] = done.stderr
    return result


def test_nothing_fails(proof: dict[str, Any]) -> None:
    """All requests are answered whole, those on replicas that go included, and every fleet ends well."""
    verdict = proof["verdict"]
    assert verdict["errors"] == []
    assert verdict["requests"] > 500
    assert verdict["drained"] >= verdict["scale_downs"] == 2
    assert {status for _, status in verdict["exits"]} == {0}


def test_more_replicas_are_asked_for_in_time(proof: dict[str, Any]) -> None:
    """Within thirty seconds of the step."""
    assert proof["verdict"]["asked_after_seconds"] <= 30
    assert proof["verdict"]["most_replicas"] == 3


def test_the_time_to_first_token_recovers(proof: dict[str, Any]) -> None:
    """It misses the goal while one replica has it all, and keeps it with three."""
    verdict = proof["verdict"]
    assert verdict["ttft_p95_recovered"] <= verdict["ttft_goal"] < verdict["ttft_p95_worst"]


def test_the_replicas_do_not_flap(proof: dict[str, Any]) -> None:
    """Up with the step, down after it, and one again at the end."""
    assert proof["verdict"]["turns"] == 0, proof["log"]
    assert proof["looks"][-1]["replicas"] == 1
    assert proof["failures"] == []


def test_the_queries_are_those_of_the_manifests(proof: dict[str, Any]) -> None:
    """What the controller asked is what a ScaledObject asks."""
    spec = parse_spec(yaml.safe_dump({"name": "proof", "models": [proof["plan"]["model"]]}))
    rule = pool_rule(spec, "llama2", namespace="proof", deployment="proof-llama2")
    assert isinstance(rule, Rule)
    manifest = scaled_object(rule, name="llama2", deployment="proof-llama2", prometheus_url="http://prometheus:9090")
    asked = [(trigger["query"], f"{trigger['target']:g}") for trigger in proof["rule"]["triggers"]]
    triggers = [trigger["metadata"] for trigger in manifest["spec"]["triggers"]]
    assert asked == [(trigger["query"], trigger["threshold"]) for trigger in triggers]
