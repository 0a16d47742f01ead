"""Sizes from safetensors headers and indexes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tritonfleet.demo import demo_model_path
from tritonfleet.errors import SourceError
from tritonfleet.planner.architecture import read_architecture
from tritonfleet.planner.parameters import weight_bytes
from tritonfleet.planner.weights import read_stored_weights


def write(path: Path, tensors: dict[str, tuple[str, list[int]]]) -> None:
    """Write a header without data, which is all that is read."""
    header = json.dumps({name: {"dtype": kind, "shape": shape} for name, (kind, shape) in tensors.items()}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)


@pytest.mark.parametrize("name", ["llama2", "mistral7b"])
def test_the_demo_models_hold_what_their_shape_says(name: str) -> None:
    """Counted from config.json and read from the headers is the same number."""
    folder = demo_model_path(name)
    model = read_architecture(json.loads((folder / "config.json").read_text()), name)
    stored = read_stored_weights(folder, len(model.layers))
    assert stored is not None
    tables = model.max_positions * model.rotary_dim * 2
    assert stored.loaded_bytes(dtype_bytes=2, quantised=False, tied=model.tied) == weight_bytes(model) - tables


def test_types_layers_and_ties(tmp_path: Path) -> None:
    """Floats are loaded in 16 bits, quantised ones as they are; extra layers and a tied copy are left out."""
    write(
        tmp_path / "model.safetensors",
        {
            "model.layers.0.w": ("F32", [4, 8]),
            "model.layers.0.q": ("I32", [8]),
            "model.layers.1.w": ("BF16", [100]),
            "lm_head.weight": ("BF16", [10]),
        },
    )
    stored = read_stored_weights(tmp_path, layers=1)
    assert stored is not None
    assert stored.loaded_bytes(dtype_bytes=2, quantised=False, tied=False) == 32 * 2 + 32 + 20
    assert stored.loaded_bytes(dtype_bytes=2, quantised=False, tied=True) == 32 * 2 + 32
    assert stored.loaded_bytes(dtype_bytes=2, quantised=True, tied=False) == 32 * 4 + 32 + 20


def test_an_index_alone_gives_the_total(tmp_path: Path) -> None:
    """Unless it holds layers that are not loaded."""
    index = {"metadata": {"total_size": 1000}, "weight_map": {"model.layers.0.w": "model-1.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    stored = read_stored_weights(tmp_path, layers=1)
    assert stored is not None
    assert stored.loaded_bytes(dtype_bytes=2, quantised=False, tied=False) == 1000
    assert read_stored_weights(tmp_path, layers=0) is None


def test_no_files_no_answer(tmp_path: Path) -> None:
    """The sizes then come from config.json alone."""
    assert read_stored_weights(tmp_path, 1) is None


@pytest.mark.parametrize("content", [b"", b"\xff" * 16, (9).to_bytes(8, "little") + b"not json!"])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    """Cut short, too long a header, no JSON."""
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(SourceError, match=r"model\.safetensors"):
        read_stored_weights(tmp_path, 1)


def test_a_damaged_index_is_named(tmp_path: Path) -> None:
    """Even where the files themselves are fine."""
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(SourceError, match="no weight_map"):
        read_stored_weights(tmp_path, 1)
