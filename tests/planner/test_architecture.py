"""Sizes from config.json against what the models' publishers state."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.planner.shapes import CONFIGS
from tritonfleet.errors import SourceError
from tritonfleet.planner.architecture import read_architecture
from tritonfleet.planner.parameters import Split, stage_layers, weight_bytes

#: Parameters by the Hub's own count of the safetensors files; of Gemma 3 the text model alone.
PUBLISHED = {
    "llama-2-7b": 6_738_415_616,
    "llama-3-70b": 70_553_706_496,
    "mistral-7b": 7_241_732_096,
    "qwen2-0.5b": 494_032_768,
    "qwen3-8b": 8_190_735_360,
    "mixtral-8x7b": 46_702_792_704,
    "qwen3-30b-a3b": 30_532_122_624,
    "gemma-3-27b": 27_009_346_304,
    "deepseek-v3": 671_026_404_352,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_those_that_are_published(name: str) -> None:
    """Within a millionth, once the sine and cosine tables are taken off."""
    model = read_architecture(CONFIGS[name], name)
    tables = (2 if name.startswith("gemma") else 1) * model.max_positions * model.rotary_dim
    assert weight_bytes(model) / 2 - tables == pytest.approx(PUBLISHED[name], rel=1e-6)


def test_a_tied_model_holds_its_embedding_once() -> None:
    """Untying adds one matrix."""
    model = read_architecture(CONFIGS["qwen2-0.5b"], "q")
    assert weight_bytes(replace(model, tied=False)) - weight_bytes(model) == 151936 * 896 * 2


def test_tensor_parallel_divides_all_but_the_small_parts() -> None:
    """Four GPUs hold a little more than a quarter each."""
    model = read_architecture(CONFIGS["llama-3-70b"], "l")
    whole, part = weight_bytes(model), weight_bytes(model, Split(tensor=4))
    assert whole / 4 < part < whole / 4 * 1.001


def test_few_key_heads_are_copied_to_every_gpu() -> None:
    """Qwen2-0.5B has two; on more GPUs none holds less than one."""
    model = replace(read_architecture(CONFIGS["llama-3-70b"], "l"), kv_heads=1)
    assert weight_bytes(model, Split(tensor=8)) > weight_bytes(model) / 8 + 2 * 8192 * 128 * 80


@pytest.mark.parametrize(("count", "stages", "expected"), [(32, 1, [32]), (32, 4, [8] * 4), (10, 4, [2, 3, 3, 2])])
def test_pipeline_stages_are_even(count: int, stages: int, expected: list[int]) -> None:
    """What does not divide goes to the stages before the last."""
    assert stage_layers(count, stages) == expected


@pytest.mark.parametrize(
    ("quantization", "bytes_per_weight"),
    [
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, (4 + 20 / 128) / 8),
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, (4 + 16 / 128) / 8),
        ({"quant_method": "gptq", "bits": 8, "group_size": -1}, 1),
        ({"quant_method": "fp8"}, 1),
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, 1 + 4 / 128**2),
        ({"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": {"num_bits": 8}}}}, 1),
        (
            {"quant_method": "compressed-tensors",
             "config_groups": {"group_0": {"weights": {"num_bits": 4, "group_size": 128}}}},
            (4 + 16 / 128) / 8,
        ),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, 4.5 / 8),
    ],
)  # fmt: skip
def test_quantised_matrices(quantization: dict[str, object], bytes_per_weight: float) -> None:
    """Only the matrices inside the layers shrink."""
    plain = read_architecture(CONFIGS["llama-2-7b"], "l")
    small = read_architecture({**CONFIGS["llama-2-7b"], "quantization_config": quantization}, "l")
    matrices = 32 * (4 * 4096 * 4096 + 3 * 4096 * 11008)
    assert weight_bytes(plain) - weight_bytes(small) == pytest.approx(matrices * (2 - bytes_per_weight), abs=64)


def test_layers_that_are_left_out_of_the_quantisation() -> None:
    """A list of modules that names the attention keeps it in 16 bits."""
    base = {"quant_method": "fp8"}
    config = CONFIGS["llama-2-7b"]
    all_small = read_architecture({**config, "quantization_config": base}, "l")
    kept = read_architecture({**config, "quantization_config": {**base, "ignore": ["re:.*self_attn.*"]}}, "l")
    assert weight_bytes(kept) - weight_bytes(all_small) == 32 * 4 * 4096 * 4096


def test_sliding_layers_of_each_family() -> None:
    """By layer_types, by the family's rule, or not at all."""
    assert read_architecture(CONFIGS["mistral-7b"], "m").sliding_layers == 32
    assert read_architecture(CONFIGS["gemma-3-27b"], "g").sliding_layers == 52
    assert read_architecture(CONFIGS["qwen2-0.5b"], "q").sliding_layers == 0
    types = ["sliding_attention", "full_attention"] * 16
    assert read_architecture({**CONFIGS["mistral-7b"], "layer_types": types}, "m").sliding_layers == 16


@pytest.mark.parametrize(
    ("scaling", "longest"),
    [
        ({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8192}, 32768),
        ({"type": "linear", "factor": 2.0}, 8192),
        ({"rope_type": "llama3", "factor": 8.0}, 4096),
        (None, 4096),
    ],
)
def test_position_scaling(scaling: dict[str, object] | None, longest: int) -> None:
    """yarn and linear lengthen the context, llama3 states it scaled already."""
    assert read_architecture({**CONFIGS["llama-2-7b"], "rope_scaling": scaling}, "l").max_positions == longest


def test_what_is_missing_is_named() -> None:
    """With the key, and a guess at the reason."""
    config = {key: value for key, value in CONFIGS["llama-2-7b"].items() if key != "hidden_size"}
    with pytest.raises(SourceError, match=r"./x: hidden_size of config.json is missing"):
        read_architecture(config, "./x")


def test_models_with_a_state_are_refused() -> None:
    """Their memory follows other rules."""
    with pytest.raises(SourceError, match="mamba_d_state"):
        read_architecture({**CONFIGS["llama-2-7b"], "mamba_d_state": 128}, "x")


def test_an_unknown_method_is_refused() -> None:
    """A wrong size would be worse than none."""
    with pytest.raises(SourceError, match="'quip' is not one that the planner knows"):
        read_architecture({**CONFIGS["llama-2-7b"], "quantization_config": {"quant_method": "quip"}}, "x")


def test_unknown_families_get_a_note() -> None:
    """They are counted as a Llama."""
    assert "counted as if" in read_architecture({**CONFIGS["llama-2-7b"], "model_type": "new"}, "x").notes[0]
