"""The logits processor that gives vLLM's steps a GPU's time in `scripts/prove_autoscaling.py`."""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import pytest

FILE = Path(__file__).resolve().parents[2] / "scripts/autoscaling/device/paced_device.py"


class Clock:
    """Stands for the module ``time``: sleeping is what moves it."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def device(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Any:
    """One of 60 ms, loaded as vLLM does, without vLLM."""
    base = types.ModuleType("vllm.v1.sample.logits_processor")
    base.LogitsProcessor = object  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, base.__name__, base)
    monkeypatch.setenv("PACED_STEP_MS", "60")
    spec = importlib.util.spec_from_file_location("paced_device", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "time", clock)
    return module.PacedDevice(None, None, False)


@pytest.mark.parametrize(("computed", "took"), [(0.0, 0.06), (0.02, 0.06), (0.06, 0.06), (0.5, 0.5)])
def test_a_step_takes_its_time_or_as_long_as_it_computes(
    device: Any, clock: Clock, computed: float, took: float
) -> None:
    """What was computed counts; a step that took longer is not made longer still."""
    logits = object()
    for _ in range(3):
        began = clock.now
        device.update_state(None)
        clock.now += computed
        assert device.apply(logits) is logits
        assert clock.now - began == pytest.approx(took)


def test_greedy_requests_are_paced_too(device: Any) -> None:
    """vLLM leaves processors out that say that they do not matter for the largest logit."""
    assert device.is_argmax_invariant() is False
