"""What `up` decides before anything is fetched or started, on machines that are not here."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from tests.planner.shapes import CONFIGS

from tritonfleet.errors import CapacityError, RuntimeMissing
from tritonfleet.layout import Layout
from tritonfleet.planner import Machine, machine_of_gpus
from tritonfleet.progress import silent
from tritonfleet.spec.models import FleetSpec, ModelSpec
from tritonfleet.supervisor.prepare import prepare


def model(folder: Path, name: str, shape: str, **options: Any) -> ModelSpec:
    """Return a model whose folder holds no more than its config."""
    source = folder / name
    source.mkdir()
    (source / "config.json").write_text(json.dumps(CONFIGS[shape]))
    (source / "tokenizer.json").write_text("{}")
    (source / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    return ModelSpec(name=name, source=str(source), engine_args={"load_format": "dummy"}, **options)


def up(folder: Path, machine: Machine, *models: ModelSpec, ignore_plan: bool = False) -> None:
    """Prepare a fleet where nothing is installed, so that whatever fits ends with the first runtime."""
    prepare(
        FleetSpec(models=models),
        Layout(folder / "state", folder / "sockets"),
        base=folder,
        cache=folder / "cache",
        environ={"PATH": "", "HOME": str(folder)},
        install=False,
        progress=silent,
        ignore_plan=ignore_plan,
        machine=machine,
    )


def test_what_does_not_fit_is_refused_before_anything_else(tmp_path: Path) -> None:
    """One model too many for the memory; nothing was looked for or written."""
    models = [model(tmp_path, name, "qwen3-8b") for name in "ab"]
    with pytest.raises(CapacityError, match=r"(?s)weights 15\.3 GiB .* on each GPU.*--ignore-plan"):
        up(tmp_path, machine_of_gpus("l4:2"), *models)
    assert not (tmp_path / "state").exists()


def test_the_plan_can_be_ignored(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With a warning that holds its reason; the next thing that is missing is a runtime."""
    models = [model(tmp_path, name, "qwen3-8b") for name in "ab"]
    with pytest.raises(RuntimeMissing, match="triton"):
        up(tmp_path, machine_of_gpus("l4:2"), *models, ignore_plan=True)
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "the plan is ignored" in warning
    assert "GiB" in warning


def test_what_fits_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Two H100s for two models; the log says where each goes and what it gets."""
    caplog.set_level(logging.INFO)
    with pytest.raises(RuntimeMissing):
        up(tmp_path, machine_of_gpus("h100:2"), *(model(tmp_path, name, "qwen3-8b") for name in "ab"))
    shown = [record.getMessage() for record in caplog.records]
    assert "plan: a/0 on gpu 0, 92.00% of its memory" in shown
    assert "plan: b/0 on gpu 1, 92.00% of its memory" in shown


def test_a_model_that_cannot_be_computed_is_started_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The planner knows no state models; vLLM may. It gets its GPU alone, and the log says why."""
    caplog.set_level(logging.INFO)
    strange = model(tmp_path, "strange", "qwen3-8b")
    (tmp_path / "strange" / "config.json").write_text(json.dumps({"model_type": "mamba", "state_size": 16}))
    with pytest.raises(RuntimeMissing):
        up(tmp_path, machine_of_gpus("h100:2"), strange, model(tmp_path, "b", "qwen3-8b"))
    shown = [record.getMessage() for record in caplog.records]
    assert "plan: strange/0 on gpu 0" in shown
    assert "plan: b/0 on gpu 1, 92.00% of its memory" in shown
    assert any("strange: its memory is not computed" in line and "config.json" in line for line in shown)
