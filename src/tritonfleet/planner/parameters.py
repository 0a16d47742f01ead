"""Bytes of weights that one GPU holds, counted from the model's shape. Pure.

The split over GPUs is vLLM's (``vllm/model_executor/models``, 0.22): attention heads, feed-forward columns, experts'
columns and the vocabulary are divided by the tensor-parallel size; norms, routers and the compressing matrices of
latent attention are held by every GPU; key and value heads are copied when there are fewer of them than GPUs.
"""

from __future__ import annotations

from dataclasses import dataclass

from tritonfleet.planner.architecture import Architecture, Layer

#: Rows of the embedding are padded to a multiple (DEFAULT_VOCAB_PADDING_SIZE in vLLM's vocab_parallel_embedding.py).
VOCABULARY_PADDING = 64


@dataclass(frozen=True)
class Split:
    """Over how many GPUs a replica is spread."""

    tensor: int = 1
    pipeline: int = 1


#: A replica on one GPU.
ONE_GPU = Split()


def weight_bytes(model: Architecture, split: Split = ONE_GPU) -> int:
    """Return the bytes of weights on the GPU of the replica that holds most of them.

    The tables of sines and cosines that vLLM keeps beside the weights are in it.
    """
    sizes = [_layer_bytes(model, layer, split.tensor) for layer in model.layers]
    ends = _embedding_bytes(model, split.tensor)
    most, start = 0, 0
    for stage, count in enumerate(stage_layers(len(sizes), split.pipeline)):
        total = sum(sizes[start : start + count])
        if stage == 0:
            total += ends
        if stage == split.pipeline - 1:
            total += model.hidden * model.dtype_bytes
            if not model.tied or split.pipeline > 1:
                total += ends
        most, start = max(most, total), start + count
    return most + _rotary_bytes(model)


def stage_layers(count: int, stages: int) -> list[int]:
    """Return how many layers each pipeline stage gets: evenly, the rest to the stages before the last."""
    base, rest = divmod(count, stages)
    sizes = [base] * stages
    for index in range(rest):
        sizes[(stages - 2 - index) % stages] += 1
    return sizes


def padded_vocabulary(model: Architecture) -> int:
    """Return the rows of the embedding as vLLM allocates it."""
    return -(-model.vocabulary // VOCABULARY_PADDING) * VOCABULARY_PADDING


def kv_heads_per_gpu(model: Architecture, tensor: int) -> int:
    """Return the key and value heads that one GPU holds; at least one."""
    return max(1, model.kv_heads // tensor)


def layer_widths(model: Architecture, tensor: int) -> tuple[int, int]:
    """Return the widths of one GPU's fused query-key-value output and of its attention output."""
    if model.mla:
        heads = model.heads // tensor
        return heads * (model.mla.nope_dim + model.mla.rope_dim) * 2, heads * model.mla.value_dim
    queries = model.heads // tensor * model.head_dim
    return queries + 2 * kv_heads_per_gpu(model, tensor) * model.head_dim, queries


def _embedding_bytes(model: Architecture, tensor: int) -> int:
    return padded_vocabulary(model) // tensor * model.hidden * model.dtype_bytes


def _rotary_bytes(model: Architecture) -> int:
    """Return the bytes of the sine and cosine tables: one row per position, a second table for sliding layers."""
    tables = 2 if model.sliding_layers and model.model_type.startswith("gemma3") else 1
    return tables * model.max_positions * model.rotary_dim * model.dtype_bytes


def _layer_bytes(model: Architecture, layer: Layer, tensor: int) -> int:
    norms = model.norms * model.hidden + (2 * model.head_dim if model.head_norms else 0)
    attention = _mla_bytes(model, tensor) if model.mla else _attention_bytes(model, tensor)
    block = _experts_bytes(model, tensor) if layer.moe else _mlp_bytes(model, model.intermediate, tensor)
    return norms * model.dtype_bytes + attention + block


def _attention_bytes(model: Architecture, tensor: int) -> int:
    fused, queries = layer_widths(model, tensor)
    matrices = model.hidden * fused + queries * model.hidden
    biases = (fused if model.qkv_bias else 0) + (model.hidden if model.output_bias else 0)
    stored = model.quantization.bytes_of(matrices, model.dtype_bytes, attention=True)
    return stored + biases * model.dtype_bytes


def _mla_bytes(model: Architecture, tensor: int) -> int:
    mla = model.mla
    assert mla is not None
    heads = model.heads // tensor
    head = mla.nope_dim + mla.rope_dim
    compress = model.hidden * (mla.kv_rank + mla.rope_dim)
    query = model.hidden * heads * head
    if mla.q_rank:
        compress += model.hidden * mla.q_rank
        query = mla.q_rank * heads * head
    expand = mla.kv_rank * heads * (mla.nope_dim + mla.value_dim)
    output = heads * mla.value_dim * model.hidden
    stored = model.quantization.bytes_of(compress + query + expand + output, model.dtype_bytes, attention=True)
    if model.quantization.bits and model.quantization.attention:
        # vLLM keeps the expanding matrix a second time, in 16 bits, to fold it into query and output.
        stored += expand * model.dtype_bytes
    return stored + (mla.kv_rank + (mla.q_rank or 0)) * model.dtype_bytes


def _mlp_bytes(model: Architecture, width: int, tensor: int) -> int:
    matrices = 3 if model.gated else 2
    stored = model.quantization.bytes_of(matrices * model.hidden * (width // tensor), model.dtype_bytes)
    biases = (matrices - 1) * (width // tensor) + model.hidden if model.mlp_bias else 0
    return stored + biases * model.dtype_bytes


def _experts_bytes(model: Architecture, tensor: int) -> int:
    experts = model.experts
    assert experts is not None
    each = 3 * model.hidden * (experts.intermediate // tensor)
    stored = model.quantization.bytes_of(experts.count * each, model.dtype_bytes, expert=True)
    router = model.hidden * experts.count * model.dtype_bytes
    shared = _mlp_bytes(model, experts.shared_intermediate, tensor) if experts.shared_intermediate else 0
    return stored + router + shared + (model.hidden * model.dtype_bytes if experts.shared_gate else 0)
