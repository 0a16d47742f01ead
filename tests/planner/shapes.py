"""config.json of well-known models, reduced to the keys that matter, and what they make."""

from __future__ import annotations

from typing import Any

from tritonfleet.planner import ModelFacts
from tritonfleet.planner.architecture import read_architecture
from tritonfleet.spec.models import FleetSpec, ModelSpec

CONFIGS: dict[str, dict[str, Any]] = {
    "llama-2-7b": {
        "model_type": "llama", "hidden_size": 4096, "num_attention_heads": 32, "num_key_value_heads": 32,
        "num_hidden_layers": 32, "intermediate_size": 11008, "vocab_size": 32000, "max_position_embeddings": 4096,
        "tie_word_embeddings": False, "torch_dtype": "float16",
    },
    "llama-3-70b": {
        "model_type": "llama", "hidden_size": 8192, "num_attention_heads": 64, "num_key_value_heads": 8,
        "num_hidden_layers": 80, "intermediate_size": 28672, "vocab_size": 128256, "max_position_embeddings": 8192,
        "tie_word_embeddings": False,
    },
    "mistral-7b": {
        "model_type": "mistral", "hidden_size": 4096, "num_attention_heads": 32, "num_key_value_heads": 8,
        "num_hidden_layers": 32, "intermediate_size": 14336, "vocab_size": 32000, "max_position_embeddings": 32768,
        "sliding_window": 4096, "tie_word_embeddings": False,
    },
    "qwen2-0.5b": {
        "model_type": "qwen2", "hidden_size": 896, "num_attention_heads": 14, "num_key_value_heads": 2,
        "num_hidden_layers": 24, "intermediate_size": 4864, "vocab_size": 151936, "max_position_embeddings": 131072,
        "sliding_window": 131072, "use_sliding_window": False, "tie_word_embeddings": True,
    },
    "qwen3-8b": {
        "model_type": "qwen3", "hidden_size": 4096, "num_attention_heads": 32, "num_key_value_heads": 8,
        "head_dim": 128, "num_hidden_layers": 36, "intermediate_size": 12288, "vocab_size": 151936,
        "max_position_embeddings": 40960, "tie_word_embeddings": False,
    },
    "mixtral-8x7b": {
        "model_type": "mixtral", "hidden_size": 4096, "num_attention_heads": 32, "num_key_value_heads": 8,
        "num_hidden_layers": 32, "intermediate_size": 14336, "vocab_size": 32000, "max_position_embeddings": 32768,
        "num_local_experts": 8, "num_experts_per_tok": 2, "sliding_window": None, "tie_word_embeddings": False,
    },
    "qwen3-30b-a3b": {
        "model_type": "qwen3_moe", "hidden_size": 2048, "num_attention_heads": 32, "num_key_value_heads": 4,
        "head_dim": 128, "num_hidden_layers": 48, "intermediate_size": 6144, "moe_intermediate_size": 768,
        "num_experts": 128, "num_experts_per_tok": 8, "decoder_sparse_step": 1, "mlp_only_layers": [],
        "vocab_size": 151936, "max_position_embeddings": 40960, "tie_word_embeddings": False,
    },
    "gemma-3-27b": {
        "model_type": "gemma3",
        "vision_config": {},
        "text_config": {
            "model_type": "gemma3_text", "hidden_size": 5376, "num_attention_heads": 32, "num_key_value_heads": 16,
            "head_dim": 128, "num_hidden_layers": 62, "intermediate_size": 21504, "vocab_size": 262208,
            "sliding_window": 1024, "max_position_embeddings": 131072,
        },
    },
    "deepseek-v3": {
        "model_type": "deepseek_v3", "hidden_size": 7168, "num_attention_heads": 128, "num_key_value_heads": 128,
        "num_hidden_layers": 61, "intermediate_size": 18432, "moe_intermediate_size": 2048, "n_routed_experts": 256,
        "n_shared_experts": 1, "num_experts_per_tok": 8, "first_k_dense_replace": 3, "moe_layer_freq": 1,
        "q_lora_rank": 1536, "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
        "vocab_size": 129280, "max_position_embeddings": 163840, "tie_word_embeddings": False,
    },
}  # fmt: skip


def fleet(*models: dict[str, Any]) -> FleetSpec:
    """Return a fleet of models; ``shape`` of each is a key of CONFIGS and is left out of the spec."""
    return FleetSpec(
        models=tuple(
            ModelSpec(source="./x", **{key: value for key, value in model.items() if key != "shape"})
            for model in models
        )
    )


def facts(*models: dict[str, Any]) -> dict[str, ModelFacts]:
    """Return the facts of the same models; without ``shape`` a Llama-2-7B."""
    return {
        model["name"]: ModelFacts(read_architecture(CONFIGS[model.get("shape", "llama-2-7b")], model["name"]))
        for model in models
    }
