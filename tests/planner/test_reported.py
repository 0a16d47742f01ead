"""The plan against what vLLM itself reported on a GPU (recorded by scripts/gpu_plan_check.py, dummy weights)."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "gpu_plan_check.py"
RECORDED = json.loads((Path(__file__).parent / "reported" / "h100.json").read_text())["models"]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """The script that made the record, as a module."""
    spec = importlib.util.spec_from_file_location("gpu_plan_check", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", RECORDED)
def test_weights_within_2_and_kv_tokens_within_5_percent(script: ModuleType, tmp_path: Path, name: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps({**script.COMMON, **script.MODELS[name]}))
    result: dict[str, Any] = script.compare(name, tmp_path, RECORDED[name])
    assert result["ok"], script.line({**result, "seconds": 0})
