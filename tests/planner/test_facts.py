"""Facts of a model from its folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.planner.shapes import CONFIGS
from tritonfleet.demo import demo_model_path
from tritonfleet.errors import SourceError
from tritonfleet.planner import gather_facts, read_facts
from tritonfleet.planner.memory import EngineSettings, footprint, loaded_weights
from tritonfleet.planner.parameters import Split, weight_bytes
from tritonfleet.spec.models import FleetSpec, ModelSpec


def model(**keys: Any) -> ModelSpec:
    """A model of the spec."""
    return ModelSpec(**{"name": "a", "source": "./x", **keys})


def folder(path: Path, **keys: Any) -> Path:
    """Write the config.json of a Llama-2-7B."""
    (path / "config.json").write_text(json.dumps({**CONFIGS["llama-2-7b"], **keys}))
    return path


def test_a_remote_gguf_file_is_not_fetched_for_the_plan(tmp_path: Path) -> None:
    """Nothing is asked: no network is needed to know that nothing is known."""
    spec = FleetSpec(
        models=(model(source="hf://org/name/m.gguf"), model(name="b", engine="llamacpp", source="s3://x/y"))
    )
    found = gather_facts(spec, base=tmp_path, cache=tmp_path, environ={"HF_ENDPOINT": "http://127.0.0.1:9"})
    assert all(facts.architecture is None and not facts.unknown for facts in found.values())


def test_a_model_that_cannot_be_computed_is_unknown_to_the_lenient(tmp_path: Path) -> None:
    """A source that is not there is an error all the same."""
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "config.json").write_text('{"model_type": "mamba", "state_size": 16}')
    places: dict[str, Any] = {"base": tmp_path, "cache": tmp_path, "environ": {}}
    spec = FleetSpec(models=(model(),))
    assert "config.json" in gather_facts(spec, **places, lenient=True)["a"].unknown
    with pytest.raises(SourceError):
        gather_facts(spec, **places)
    with pytest.raises(SourceError, match="there is no folder"):
        gather_facts(FleetSpec(models=(model(source="./y"),)), **places, lenient=True)


def test_a_gguf_file_and_the_fake_engine_have_no_shape(tmp_path: Path) -> None:
    """Their memory is not computed."""
    file = tmp_path / "m.gguf"
    file.write_bytes(b"x" * 10)
    assert read_facts(model(engine="llamacpp"), file).file_bytes == 10
    assert read_facts(model(engine="fake"), tmp_path).architecture is None


@pytest.mark.parametrize(("text", "message"), [(None, "no config.json"), ("{", "not JSON"), ("[]", "no JSON object")])
def test_a_config_that_cannot_be_read_is_named(tmp_path: Path, text: str | None, message: str) -> None:
    """With the model and the file."""
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(SourceError, match=f"a: .*{message}"):
        read_facts(model(), tmp_path)


def test_the_spec_wins_over_the_config(tmp_path: Path) -> None:
    """float32 doubles, fp8 while loading halves the matrices."""
    place = folder(tmp_path)
    plain, wide, small = (
        read_facts(model(**keys), place).architecture
        for keys in ({}, {"dtype": "float32"}, {"engine_args": {"quantization": "fp8"}})
    )
    assert plain
    assert wide
    assert small
    assert weight_bytes(wide) == 2 * weight_bytes(plain)
    assert 0.5 < weight_bytes(small) / weight_bytes(plain) < 0.53


def test_files_correct_what_the_shape_says(tmp_path: Path) -> None:
    """By their total, on each of the GPUs alike."""
    place = folder(tmp_path)
    total = 2 * weight_bytes_of(place)
    index = {"metadata": {"total_size": total}, "weight_map": {"model.layers.0.w": "x.safetensors"}}
    (place / "model.safetensors.index.json").write_text(json.dumps(index))
    found = read_facts(model(), place)
    assert found.architecture
    assert loaded_weights(found.architecture, found.stored) == total
    split = Split(tensor=2)
    assert loaded_weights(found.architecture, found.stored, split) == 2 * weight_bytes(found.architecture, split)


def weight_bytes_of(place: Path) -> int:
    """What the shape alone says."""
    architecture = read_facts(model(), place).architecture
    assert architecture
    return weight_bytes(architecture)


def test_lora_slots_and_graphs_are_counted(tmp_path: Path) -> None:
    """Slots are reserved beforehand; without graphs there are none."""
    architecture = read_facts(model(), folder(tmp_path)).architecture
    assert architecture
    plain = footprint(architecture, None, EngineSettings(4096, 2048, 256))
    slots = footprint(architecture, None, EngineSettings(4096, 2048, 256, lora_rank=16, lora_slots=2))
    eager = footprint(architecture, None, EngineSettings(4096, 2048, 256, graphs=False))
    # Rank 16 over Llama-2-7B's seven matrices is 40.0 M parameters.
    assert slots.fixed - plain.fixed == pytest.approx(2 * 2 * 40.0e6, rel=0.15)
    assert plain.graphs > 0
    assert eager.graphs == 0


def test_facts_of_a_whole_fleet(tmp_path: Path) -> None:
    """Each source is resolved as everywhere."""
    place = tmp_path / "m"
    place.mkdir()
    folder(place)
    spec = FleetSpec(models=(model(source="./m"), model(name="b", source="demo://llama2")))
    found = gather_facts(spec, base=tmp_path, cache=tmp_path / "cache", environ={})
    assert found["a"].stored is None
    assert found["b"] == read_facts(spec.models[1], demo_model_path("llama2"))
