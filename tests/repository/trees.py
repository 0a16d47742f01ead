"""Repositories as text, for the tests of the check."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tritonfleet.repository import check_repository

#: NVIDIA's own example of an ensemble's parts, written anew.
VLLM_CONFIG = 'backend: "vllm"\ninstance_group [ { count: 1 kind: KIND_MODEL } ]\n'
MODEL_JSON = '{\n  "model": "facebook/opt-125m",\n  "gpu_memory_utilization": 0.5,\n  "enforce_eager": true\n}\n'
MODEL_PY = """class TritonPythonModel:
    def execute(self, requests):
        return []
"""
PYTHON_CONFIG = """backend: "python"
max_batch_size: 8
dynamic_batching { }
input [ { name: "TEXT_IN" data_type: TYPE_STRING dims: [ 1 ] } ]
output [ { name: "TEXT_OUT" data_type: TYPE_STRING dims: [ 1 ] } ]
"""
ENSEMBLE_CONFIG = """platform: "ensemble"
input [ { name: "question" data_type: TYPE_STRING dims: [ 1 ] } ]
output [ { name: "answer" data_type: TYPE_STRING dims: [ -1 ] } ]
ensemble_scheduling {
  step [
    {
      model_name: "prepare"
      model_version: -1
      input_map { key: "TEXT_IN" value: "question" }
      output_map { key: "TEXT_OUT" value: "prompt" }
    },
    {
      model_name: "llm"
      model_version: 1
      input_map { key: "text_input" value: "prompt" }
      output_map { key: "text_output" value: "answer" }
    }
  ]
}
"""
#: A vLLM model, a Python model and an ensemble of both.
GOOD = {
    "llm/config.pbtxt": VLLM_CONFIG,
    "llm/1/model.json": MODEL_JSON,
    "prepare/config.pbtxt": PYTHON_CONFIG,
    "prepare/1/model.py": MODEL_PY,
    "chain/config.pbtxt": ENSEMBLE_CONFIG,
    "chain/1/.keep": "",
}


def write_tree(root: Path, files: Mapping[str, str | None]) -> Path:
    """Write *files* below *root*; a name that ends in a slash makes a folder."""
    for name, text in files.items():
        path = root / name
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
        elif text is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return root


def check(root: Path, files: Mapping[str, str | None]) -> list[str]:
    """Return the findings about a repository of *files* as text."""
    return [str(finding) for finding in check_repository(write_tree(root, files))]
