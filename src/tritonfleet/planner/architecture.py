"""What a model's ``config.json`` says of its shape, as values that the sizes are computed from. Pure.

Key names are those of Hugging Face transformers' configuration classes; defaults that a ``config.json`` may leave
out are theirs too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tritonfleet.errors import SourceError
from tritonfleet.planner.quantization import Quantization, read_quantization

Attention = Literal["full", "sliding"]

#: Families whose classes tie the output layer to the embedding when config.json does not say.
_TIED = frozenset({"gemma", "gemma2", "gemma3", "gemma3_text", "cohere", "cohere2"})
#: Families that normalise each head's query and key.
_HEAD_NORMS = frozenset({"qwen3", "qwen3_moe", "gemma3", "gemma3_text"})
#: Families with four norms in a layer instead of two.
_FOUR_NORMS = frozenset({"gemma2", "gemma3", "gemma3_text"})
#: Families whose query, key and value projections have a bias although no key says so.
_QKV_BIAS = frozenset({"qwen2", "qwen2_moe"})
#: Families whose heads are 256 wide when config.json does not say.
_WIDE_HEADS = frozenset({"gemma", "gemma2", "gemma3", "gemma3_text"})
#: Families with two matrices in a feed-forward block instead of three.
_UNGATED = frozenset({"starcoder2", "phi"})
#: Families that are counted exactly; others are counted as if they were Llama, with a note.
KNOWN = frozenset(
    {
        "llama", "mistral", "mixtral", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "gemma", "gemma2", "gemma3",
        "gemma3_text", "deepseek_v2", "deepseek_v3", "starcoder2", "granite", "internlm2", "gpt_oss", "smollm3",
    }
)  # fmt: skip
#: Keys of models that keep a state instead of (or beside) a KV cache; their memory follows other rules.
_STATE_KEYS = ("mamba_d_state", "ssm_state_size", "state_size", "linear_num_value_heads", "rwkv_version")


@dataclass(frozen=True)
class Mla:
    """Multi-head latent attention (DeepSeek V2 and V3): the cache holds one compressed vector for all heads."""

    q_rank: int | None
    """Width of the compressed query; None when the query is not compressed."""
    kv_rank: int
    """Width of the compressed key and value."""
    nope_dim: int
    """Width of a head's key without position."""
    rope_dim: int
    """Width of the key part with position, shared by all heads."""
    value_dim: int
    """Width of a head's value."""


@dataclass(frozen=True)
class Experts:
    """Feed-forward block of a mixture-of-experts layer."""

    count: int
    per_token: int
    intermediate: int
    shared_intermediate: int = 0
    """Width of the block that every token passes; 0 without one."""
    shared_gate: bool = False


@dataclass(frozen=True)
class Layer:
    """One decoder layer."""

    attention: Attention
    moe: bool


@dataclass(frozen=True)
class Architecture:
    """A decoder-only language model's shape. Widths are numbers of elements."""

    model_type: str
    hidden: int
    vocabulary: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    layers: tuple[Layer, ...]
    max_positions: int
    """Longest context in tokens that the model is made for, position scaling included."""
    window: int | None = None
    """Tokens that a sliding-window layer sees."""
    mla: Mla | None = None
    experts: Experts | None = None
    tied: bool = False
    """The output layer is the embedding."""
    gated: bool = True
    qkv_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False
    head_norms: bool = False
    norms: int = 2
    rotary_dim: int = 0
    dtype_bytes: int = 2
    quantization: Quantization = field(default_factory=Quantization)
    notes: tuple[str, ...] = ()
    """What the counts leave out, in words for the user."""

    @property
    def sliding_layers(self) -> int:
        """Number of layers with a sliding window."""
        return sum(layer.attention == "sliding" for layer in self.layers)


def read_architecture(config: Mapping[str, Any], source: str, *, dtype: str = "auto") -> Architecture:
    """Return the shape that *config* (a parsed ``config.json``) describes.

    Args:
        config: the parsed file; of a multimodal model the part for text is taken.
        source: named in errors.
        dtype: ``dtype`` of the spec; ``auto`` is the model's own, float32 loaded as two bytes as vLLM does.

    Raises SourceError if a needed key is missing or the model has no attention cache of the usual kind.
    """
    reader = _Reader(_text_part(config), source)
    kind = str(reader.config.get("model_type", "unknown"))
    _refuse_state_models(reader.config, source)
    hidden, heads = reader.number("hidden_size"), reader.number("num_attention_heads")
    count = reader.number("num_hidden_layers")
    head_dim = reader.number("head_dim", 256 if kind in _WIDE_HEADS else hidden // heads)
    mla = _mla(reader)
    experts = _experts(reader)
    rotary = mla.rope_dim if mla else int(head_dim * float(reader.config.get("partial_rotary_factor") or 1))
    bias = bool(reader.config.get("attention_bias", False))
    return Architecture(
        model_type=kind,
        hidden=hidden,
        vocabulary=reader.number("vocab_size"),
        heads=heads,
        kv_heads=reader.number("num_key_value_heads", heads),
        head_dim=head_dim,
        intermediate=reader.number("intermediate_size", 4 * hidden),
        layers=_layers(reader, kind, count, experts),
        max_positions=_max_positions(reader),
        window=_window(reader, kind),
        mla=mla,
        experts=experts,
        tied=bool(reader.config.get("tie_word_embeddings", config.get("tie_word_embeddings", kind in _TIED))),
        gated=kind not in _UNGATED,
        qkv_bias=bias or kind in _QKV_BIAS,
        output_bias=bias,
        mlp_bias=bool(reader.config.get("mlp_bias", False)),
        head_norms=kind in _HEAD_NORMS,
        norms=4 if kind in _FOUR_NORMS else 2,
        rotary_dim=rotary,
        dtype_bytes=_dtype_bytes(dtype),
        quantization=read_quantization(config.get("quantization_config") or reader.config.get("quantization_config")),
        notes=_notes(kind, config),
    )


class _Reader:
    """Numbers out of a config, with errors that name the key."""

    def __init__(self, config: Mapping[str, Any], source: str) -> None:
        self.config = config
        self._source = source

    def number(self, key: str, default: int | None = None) -> int:
        value = self.config.get(key)
        value = default if value is None else value
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            shown = "missing" if value is None else repr(value)
            raise SourceError(
                f"{self._source}: {key} of config.json is {shown}, a number above 0 is needed to compute the memory; "
                "is it the config of a decoder-only language model?"
            )
        return int(value)


def _text_part(config: Mapping[str, Any]) -> Mapping[str, Any]:
    for key in ("text_config", "llm_config", "language_config"):
        if isinstance(part := config.get(key), Mapping):
            return part
    return config


def _refuse_state_models(config: Mapping[str, Any], source: str) -> None:
    if key := next((key for key in _STATE_KEYS if config.get(key)), None):
        raise SourceError(
            f"{source}: config.json has {key}: the model keeps a state beside its KV cache, and the planner knows "
            "attention alone; start it with `tritonfleet up` and read the sizes from its log"
        )


def _mla(reader: _Reader) -> Mla | None:
    if reader.config.get("kv_lora_rank") is None:
        return None
    rank = reader.config.get("q_lora_rank")
    return Mla(
        q_rank=int(rank) if rank else None,
        kv_rank=reader.number("kv_lora_rank"),
        nope_dim=reader.number("qk_nope_head_dim"),
        rope_dim=reader.number("qk_rope_head_dim"),
        value_dim=reader.number("v_head_dim"),
    )


def _experts(reader: _Reader) -> Experts | None:
    config = reader.config
    key = next((key for key in ("num_local_experts", "n_routed_experts", "num_experts") if config.get(key)), None)
    if key is None:
        return None
    width = reader.number("moe_intermediate_size", reader.number("intermediate_size", 1))
    shared = int(config.get("shared_expert_intermediate_size") or 0)
    return Experts(
        count=reader.number(key),
        per_token=reader.number("num_experts_per_tok", 1),
        intermediate=width,
        shared_intermediate=shared or int(config.get("n_shared_experts") or 0) * width,
        shared_gate=shared > 0,
    )


def _layers(reader: _Reader, kind: str, count: int, experts: Experts | None) -> tuple[Layer, ...]:
    sliding = _sliding_pattern(reader, kind, count)
    return tuple(Layer("sliding" if sliding[i] else "full", _is_moe(reader, i, experts)) for i in range(count))


def _is_moe(reader: _Reader, index: int, experts: Experts | None) -> bool:
    if experts is None:
        return False
    config = reader.config
    if index in (config.get("mlp_only_layers") or ()) or index < int(config.get("first_k_dense_replace") or 0):
        return False
    step = int(config.get("decoder_sparse_step") or 1)
    return (index + 1) % step == 0 and index % int(config.get("moe_layer_freq") or 1) == 0


def _window(reader: _Reader, kind: str) -> int | None:
    if kind.startswith("qwen") and not reader.config.get("use_sliding_window", False):
        return None
    value = reader.config.get("sliding_window")
    return int(value) if value else None


def _sliding_pattern(reader: _Reader, kind: str, count: int) -> list[bool]:
    """Return for each layer whether it slides: by ``layer_types``, else by the family's rule."""
    if _window(reader, kind) is None:
        return [False] * count
    types = reader.config.get("layer_types")
    if isinstance(types, list) and len(types) == count:
        return ["sliding" in str(entry) for entry in types]
    if kind.startswith("qwen"):
        first = int(reader.config.get("max_window_layers") or 0)
        return [index >= first for index in range(count)]
    pattern = {"gemma2": 2, "gemma3": 6, "gemma3_text": 6, "cohere2": 4, "gpt_oss": 2}.get(kind, 0)
    pattern = int(reader.config.get("sliding_window_pattern") or pattern)
    return [not pattern or (index + 1) % pattern != 0 for index in range(count)]


def _max_positions(reader: _Reader) -> int:
    """Return the longest context, as vLLM's ``_get_and_verify_max_len`` derives it (vllm/config/model.py, 0.22)."""
    longest = reader.number("max_position_embeddings", 2048)
    scaling = reader.config.get("rope_parameters") or reader.config.get("rope_scaling") or {}
    if not isinstance(scaling, Mapping) or "factor" not in scaling:
        return longest
    kind = scaling.get("rope_type") or scaling.get("type")
    if kind == "yarn":
        return int(float(scaling["factor"]) * int(scaling.get("original_max_position_embeddings") or longest))
    if kind in ("linear", "dynamic"):
        return int(float(scaling["factor"]) * longest)
    return longest


def _dtype_bytes(dtype: str) -> int:
    return 4 if dtype == "float32" else 2


def _notes(kind: str, config: Mapping[str, Any]) -> tuple[str, ...]:
    notes = []
    if kind not in KNOWN:
        notes.append(f"model_type {kind!r} is not one that the planner knows: counted as if it were a Llama")
    if "vision_config" in config or "audio_config" in config:
        notes.append("the encoders for images or sound and their activations are not counted, only the text model")
    return tuple(notes)
