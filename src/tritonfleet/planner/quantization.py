"""Bits per weight of the quantised formats that vLLM loads, from ``quantization_config``. Pure.

Group-wise formats keep a 16-bit scale for each group, AWQ a zero point as well; fp8 in blocks keeps a 32-bit scale
for each block. Scales per tensor or channel are too small to count. Formats as documented in transformers'
quantisation guide and the compressed-tensors README.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tritonfleet.errors import SourceError


@dataclass(frozen=True)
class Quantization:
    """How the matrices inside the layers are stored; embedding, output layer, norms and router never are."""

    method: str = "none"
    bits: float = 0.0
    """Bits per weight, scales included; 0 for a model that is not quantised."""
    attention: bool = True
    """Whether the attention's matrices are quantised too."""
    dense: bool = True
    """Whether matrices outside the experts are quantised too."""
    online: bool = False
    """Quantised while loading; the files hold the weights unquantised."""

    def bytes_of(self, elements: int, dtype_bytes: int, *, attention: bool = False, expert: bool = False) -> int:
        """Return the bytes of a matrix of *elements* weights inside a layer."""
        quantised = self.bits and (self.attention or not attention) and (self.dense or expert)
        return round(elements * self.bits / 8) if quantised else elements * dtype_bytes


def read_quantization(config: object) -> Quantization:
    """Return what ``quantization_config`` says; nothing when there is none.

    Raises SourceError for a method whose size is not known.
    """
    if not isinstance(config, Mapping):
        return Quantization()
    method = str(config.get("quant_method", "")).lower()
    bits = _bits(method, config)
    return Quantization(method, bits, attention=not _skips_attention(config), dense=method != "mxfp4")


def online(method: str) -> Quantization:
    """Return what vLLM's ``quantization`` option makes of a model that is stored in 16 bits.

    Raises SourceError for a method whose size is not known.
    """
    if method == "fp8":
        return Quantization("fp8", 8.0, online=True)
    return replace(read_quantization({"quant_method": method}), online=True)


def _bits(method: str, config: Mapping[str, Any]) -> float:
    group = int(config.get("group_size") or config.get("q_group_size") or 128)
    width = float(config.get("bits") or config.get("w_bit") or 4)
    if method in ("awq", "awq_marlin"):
        return width + _per_group(16 + width, group)
    if method in ("gptq", "gptq_marlin"):
        return width + _per_group(16, group)
    if method == "fp8":
        block = config.get("weight_block_size")
        return 8 + (32 / (int(block[0]) * int(block[1])) if isinstance(block, list) and len(block) == 2 else 0)
    if method in ("compressed-tensors", "modelopt"):
        return _compressed(config)
    if method == "mxfp4":
        return 4 + _per_group(8, 32)
    if method in ("bitsandbytes", "bnb"):
        return 8.0 if config.get("load_in_8bit") else 4 + _per_group(32, 64)
    raise SourceError(
        f"quantization method {method!r} is not one that the planner knows "
        "(awq, gptq, fp8, compressed-tensors, modelopt, mxfp4, bitsandbytes)"
    )


def _per_group(bits: float, group: int) -> float:
    return bits / group if group > 0 else 0.0


def _compressed(config: Mapping[str, Any]) -> float:
    groups = config.get("config_groups")
    first: object = next(iter(groups.values()), None) if isinstance(groups, Mapping) else None
    weights = first.get("weights") if isinstance(first, Mapping) else None
    if not isinstance(weights, Mapping):
        return 8.0
    width = float(weights.get("num_bits") or 8)
    group = int(weights.get("group_size") or 0)
    zero = 0.0 if weights.get("symmetric", True) else width
    return width + _per_group(16 + zero, group)


def _skips_attention(config: Mapping[str, Any]) -> bool:
    names = config.get("ignore") or config.get("modules_to_not_convert") or config.get("ignored_layers") or ()
    return any("self_attn" in str(name) for name in names)
