"""docs/engines.md says what the code does."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import yaml

from tests.engines.launches import launch
from tritonfleet.engines import adapter
from tritonfleet.fake_engine.options import Options

PAGE = (Path(__file__).parents[2] / "docs/engines.md").read_text()


def test_every_option_of_the_fake_engine_is_documented() -> None:
    """Those that a spec may hold."""
    own = {"uds", "host", "port", "model", "served_model_name", "max_model_len", "lora_modules"}
    table = PAGE.partition("## The fake engine")[2]
    assert {field.name for field in fields(Options)} - own == set(re.findall(r"`(\w+)`", table)) - {
        "priority",
        "max_tokens",
    }


def test_the_example_of_engine_args_is_true() -> None:
    """Each line becomes what its comment says."""
    text = re.search(r"```yaml\nmodels:\n(.*?)```", PAGE, re.DOTALL)
    assert text
    example = yaml.safe_load(f"models:\n{text[1]}")["models"][0]["engine_args"]
    argv = " ".join(adapter("vllm").command(launch(engine_args=example)).argv)
    for option in (
        "--gpu-memory-utilization 0.8",
        "--max-num-seqs 128",
        "--no-enable-prefix-caching",
        "--enforce-eager",
    ):
        assert option in argv
    assert '--compilation-config {"mode": 0}' in argv
    assert "seed" not in argv


def test_the_page_says_which_engines_were_not_run() -> None:
    """Each of the three, in the table and in its own section."""
    for engine in ("tensorrt-llm", "sglang", "llamacpp"):
        row = next(line for line in PAGE.splitlines() if line.startswith(f"| `{engine}` |"))
        assert "**not run" in row
    for title in ("TensorRT-LLM", "SGLang", "llama.cpp"):
        section = PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
        assert "Not run" in section
