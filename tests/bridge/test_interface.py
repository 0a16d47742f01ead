"""NVIDIA's interface and the blueprint's through the real tritonserver, with fake engines behind it."""

from __future__ import annotations

import json

import pytest

from tests.bridge.conftest import Stage
from tests.bridge.stage import StreamError

pytestmark = [pytest.mark.e2e]

PROMPT = "the quick brown fox jumps over the lazy dog"


@pytest.fixture(scope="module")
def llm(stage: Stage) -> str:
    """Load a model whose answers repeat the prompt."""
    stage.model("llm")
    return "llm"


def test_whole_answer_begins_with_the_prompt_unless_excluded(stage: Stage, llm: str) -> None:
    """Without streaming the default is prompt and answer in exactly one response."""
    echoed = stage.triton.generate(llm, {"text_input": PROMPT, "sampling_parameters": '{"max_tokens": 4}'})
    alone = stage.triton.generate(
        llm, {"text_input": PROMPT, "sampling_parameters": '{"max_tokens": "4"}', "exclude_input_in_output": True}
    )
    assert echoed["text_output"] == f"{PROMPT}the quick brown fox"
    assert alone["text_output"] == "the quick brown fox"
