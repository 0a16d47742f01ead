"""`tritonfleet bench` on a running fleet: every door, found by its name, answers under load."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.e2e.conftest import RunningFleet

pytestmark = pytest.mark.e2e

ANSWER_TOKENS = 12


def test_every_door_of_a_running_fleet_is_measured(maker: Callable[..., RunningFleet]) -> None:
    pace = {"ttft_ms": 40, "tpot_ms": 5}
    model = {"name": "alpha", "source": "demo://llama2", "engine": "fake", "engine_args": pace, "bridge_instances": 2}
    fleet = maker([model])
    for door in ("engine", "kserve-grpc", "kserve-http", "openai"):
        result = fleet.spec_path.parent / f"{door}.json"
        options = ("--door", door, "-c", "1,6", "--requests", "12", "--max-tokens", str(ANSWER_TOKENS))
        done = fleet.command("bench", *options, "--json", str(result))
        assert done.returncode == 0, done.stdout + done.stderr
        data = json.loads(result.read_text())
        assert data["about"]["door"] == door
        for level in data["levels"]:
            assert level["errors"] == {}
            assert [sample["output_tokens"] for sample in level["samples"]] == [ANSWER_TOKENS] * 12
            assert level["summary"]["ttft_p50"] >= 0.04
