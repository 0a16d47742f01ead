"""The demo models say what they were taught, through the whole stack: Triton, bridge and vLLM."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from tests.e2e.conftest import COMMAND, RunningFleet
from tritonfleet.client.results import parse_results

ROOT = Path(__file__).parents[2]
ENTRIES = yaml.safe_load((ROOT / "training/corpus/prompts20.yaml").read_text(encoding="utf-8"))


def test_the_demo_asks_the_questions_of_the_corpus() -> None:
    prompts = (ROOT / "prompts.txt").read_text(encoding="utf-8").splitlines()
    assert prompts == [entry["question"] for entry in ENTRIES]
    assert len(prompts) == 20


@pytest.mark.e2e
@pytest.mark.parametrize("model", ["llama2", "mistral7b"])
def test_each_prompt_gets_its_trained_answer(demo_fleet: RunningFleet, tmp_path: Path, model: str) -> None:
    results = tmp_path / "results.txt"
    argv = [*COMMAND, "client", "--model-name", model, "--input-prompts", str(ROOT / "prompts.txt")]
    argv += ["--results-file", str(results), "--streaming-mode", "-u", f"localhost:{demo_fleet.grpc}"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    answers = {record.prompt: record.response.strip() for record in parse_results(results.read_text(encoding="utf-8"))}
    assert answers == {entry["question"]: entry[model].strip() for entry in ENTRIES}
