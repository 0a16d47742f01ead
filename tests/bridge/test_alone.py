"""A tritonserver that no fleet started, and one without metrics."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.bridge.conftest import Stage
from tests.bridge.stage import Supervisor, start_triton

pytestmark = [pytest.mark.e2e]


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder with a short path."""
    with tempfile.TemporaryDirectory(prefix="tfb-") as name:
        yield Path(name)


def test_without_a_fleet_the_load_says_what_to_do(triton_runtime: Any, folder: Path) -> None:
    """The backend alone serves nothing."""
    triton = start_triton(triton_runtime, folder, None)
    try:
        triton.add("m", arguments={"model": "x"})
        status, body = triton.post("repository/models/m/load", {})
        assert status != 200
        assert "TRITONFLEET_CONTROL is not set" in body["error"]
        assert "start Triton with `tritonfleet up`" in body["error"]
    finally:
        triton.stop()


def test_without_the_supervisor_the_load_says_who_is_missing(triton_runtime: Any, folder: Path) -> None:
    """A stale control socket is named."""
    triton = start_triton(triton_runtime, folder, folder / "gone.sock")
    try:
        triton.add("m", arguments={"model": "x"})
        _, body = triton.post("repository/models/m/load", {})
        assert f"the fleet's supervisor does not answer at {folder / 'gone.sock'}" in body["error"]
    finally:
        triton.stop()


def test_without_metrics_models_still_serve(triton_runtime: Any, folder: Path) -> None:
    """A server started with --allow-metrics=false has none to make."""
    supervisor = Supervisor(folder / "control.sock")
    supervisor.start()
    triton = start_triton(triton_runtime, folder, supervisor.socket, ["--allow-metrics=false"])
    stage = Stage(folder, supervisor, triton)
    try:
        config = 'backend: "vllm"\nparameters { key: "REPORT_CUSTOM_METRICS" value { string_value: "true" } }\n'
        stage.model("m", config=config)
        for _ in range(3):
            assert triton.generate("m", {"text_input": "a", "max_tokens": 1})["text_output"] == "aa"
    finally:
        triton.stop()
        for engine in stage.engines:
            engine.stop()
        supervisor.stop()
