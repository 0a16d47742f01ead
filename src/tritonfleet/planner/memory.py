"""What one vLLM engine takes of a GPU's memory, part by part. Pure.

vLLM requests ``gpu_memory_utilization`` of the device's total memory, runs one batch of the largest size, and gives
what is left of the request to the KV cache::

    KV cache = request - weights - activation peak - CUDA graphs - what CUDA itself took meanwhile

Source: ``Worker.determine_available_memory`` in ``vllm/v1/worker/gpu_worker.py``, 0.22; defaults from
``EngineArgs`` in ``vllm/engine/arg_utils.py``. The CUDA context lies outside the request.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tritonfleet.planner.architecture import Architecture
from tritonfleet.planner.devices import GIB, Gpu
from tritonfleet.planner.kv_cache import KvCache, kv_cache
from tritonfleet.planner.parameters import ONE_GPU, Split, layer_widths, padded_vocabulary, weight_bytes
from tritonfleet.planner.weights import StoredWeights

MIB = 2**20
#: vLLM's default for ``gpu_memory_utilization`` (``CacheConfig``, 0.22).
DEFAULT_UTILIZATION = 0.92
#: CUDA context and driver memory of a process that uses the GPU; not part of vLLM's request.
CONTEXT_BYTES = 600 * MIB
#: Part of a GPU that is given out at most; allocators lose a little to fragments.
USABLE = 0.98
#: Kernels and handles that CUDA loads while vLLM profiles ("non-torch" in its log); with several GPUs NCCL's buffers.
CUDA_BYTES = 300 * MIB
CUDA_BYTES_PARALLEL = 1 * GIB
#: cuBLAS' workspace on Hopper, taken from the same allocator as the activations.
CUBLAS_BYTES = 32 * MIB
#: First graph of each mode, and each further one per layer: vLLM counts 1 MiB at least.
FIRST_GRAPH_BYTES = 128 * MIB
GRAPH_BYTES_PER_LAYER = 80 * 1024
#: Latent attention expands at most this many cached tokens at once (``mla_attention.py``).
MLA_WORKSPACE_TOKENS = 64 * 1024


@dataclass(frozen=True)
class EngineSettings:
    """The options of an engine that decide its memory."""

    max_model_len: int
    batch_tokens: int
    """``max_num_batched_tokens``"""
    sequences: int
    """``max_num_seqs``"""
    graphs: bool = True
    utilization: float | None = None
    """``gpu_memory_utilization`` as the user set it; None leaves it to the plan."""
    kv_bytes: int | None = None
    """``kv_cache_memory_bytes`` as the user set it."""
    kv_element_bytes: int = 2
    block_tokens: int = 0
    lora_rank: int = 0
    lora_slots: int = 0


@dataclass(frozen=True)
class Footprint:
    """Bytes on each GPU of a replica, the KV cache left out."""

    weights: int
    activation: int
    graphs: int
    cuda: int
    lora: int
    cache: KvCache

    @property
    def fixed(self) -> int:
        """Everything inside vLLM's request but the KV cache."""
        return self.weights + self.activation + self.graphs + self.cuda + self.lora

    @property
    def asleep(self) -> int:
        """What stays on the device while the engine sleeps: context, graphs and CUDA's own memory."""
        return CONTEXT_BYTES + self.graphs + self.cuda

    def need(self, tokens: int) -> int:
        """Return the smallest request with which the engine starts: one sequence of *tokens* tokens fits."""
        return self.fixed + self.cache.bytes_for(tokens)


def usable(gpu: Gpu) -> int:
    """Return the bytes of *gpu* that may be given out, contexts included."""
    return max(0, math.floor(gpu.total_bytes * USABLE) - gpu.taken_bytes)


def batch_defaults(gpu: Gpu, max_model_len: int) -> tuple[int, int]:
    """Return vLLM's ``max_num_batched_tokens`` and ``max_num_seqs`` for its server on *gpu*."""
    tokens, sequences = (8192, 1024) if gpu.large_batches else (2048, 256)
    tokens = min(tokens, sequences * max_model_len)
    return tokens, min(sequences, tokens)


def footprint(
    model: Architecture, stored: StoredWeights | None, settings: EngineSettings, split: Split = ONE_GPU
) -> Footprint:
    """Return what an engine with *settings* takes on each GPU; *stored* makes the weights exact where it is known."""
    cache = kv_cache(
        model,
        split,
        batch_tokens=settings.batch_tokens,
        element_bytes=settings.kv_element_bytes * model.dtype_bytes // 2 or 1,
        block_tokens=settings.block_tokens,
    )
    return Footprint(
        weights=loaded_weights(model, stored, split),
        activation=_activation(model, settings, split),
        graphs=_graphs(model, settings, split) if settings.graphs else 0,
        cuda=CUDA_BYTES_PARALLEL if split.tensor * split.pipeline > 1 else CUDA_BYTES,
        lora=_lora(model, settings, split),
        cache=cache,
    )


def loaded_weights(model: Architecture, stored: StoredWeights | None, split: Split = ONE_GPU) -> int:
    """Return the bytes of weights per GPU: counted from the shape, corrected by what the files hold."""
    counted = weight_bytes(model, split)
    if stored is None or model.quantization.online:
        return counted  # not here, or not stored in the form in which it is loaded
    loaded = stored.loaded_bytes(
        dtype_bytes=model.dtype_bytes, quantised=bool(model.quantization.bits), tied=model.tied
    )
    return round(counted * loaded / weight_bytes(model))


def stored_and_counted(model: Architecture, stored: StoredWeights | None) -> tuple[int, int] | None:
    """Return the bytes that the files hold and that the shape asks for, where they are more than a tenth apart.

    Files of a model that was copied in part, or a shape that is not what the counts take it for.
    """
    held, counted = loaded_weights(model, stored), weight_bytes(model)
    return (held, counted) if abs(held - counted) > counted / 10 else None


def _activation(model: Architecture, settings: EngineSettings, split: Split) -> int:
    """Return the peak of vLLM's profile run: the widest layer on a full batch, or sampling for all sequences.

    A layer's inputs and its two widest results are alive together. The sampler holds the logits in the model's type
    and, in 32 bits, as logits, probabilities and random numbers (``vllm/v1/sample``): 2 + 3 x 4 bytes each. The
    experts' workspaces stay allocated once they were needed (``vllm/v1/worker/workspace.py``), so they add to both.
    """
    tokens, width = settings.batch_tokens, model.dtype_bytes
    fused, queries = layer_widths(model, split.tensor)
    attention = model.hidden + 2 * fused + queries
    blocks = (3 if model.gated else 2) * (model.intermediate // split.tensor) + 2 * model.hidden
    forward = tokens * width * max(attention, blocks if not all(layer.moe for layer in model.layers) else 0)
    kept = 0
    if model.experts:
        kept = _experts_workspace(model, tokens, split)
        forward = max(forward, _experts_activation(model, tokens, split))
    if model.mla:
        heads = model.heads // split.tensor
        forward += MLA_WORKSPACE_TOKENS * heads * (model.mla.nope_dim + model.mla.value_dim) * width
    logits = settings.sequences * padded_vocabulary(model) * (width + 12)
    sampler = logits + (tokens + 2 * settings.sequences) * model.hidden * width
    return max(forward, sampler) + kept + CUBLAS_BYTES


def _experts_workspace(model: Architecture, tokens: int, split: Split) -> int:
    """Return the bytes of the two workspaces of an expert layer (``TritonExperts.workspace_shapes``, 0.22)."""
    experts = model.experts
    assert experts is not None
    width = experts.intermediate // split.tensor
    rows = experts.per_token * (max(width, model.hidden) + max(2 * width, model.hidden))
    return tokens * rows * model.dtype_bytes


def _experts_activation(model: Architecture, tokens: int, split: Split) -> int:
    """Return the bytes that one expert layer needs besides the workspaces."""
    experts = model.experts
    assert experts is not None
    shared = 3 * experts.shared_intermediate // split.tensor
    return tokens * ((shared + 3 * model.hidden) * model.dtype_bytes + 4 * experts.count)


def capture_sizes(settings: EngineSettings) -> int:
    """Return how many batch sizes vLLM captures: 1, 2, 4, then each 8th to 256, each 16th to 512."""
    largest = min(settings.sequences * 2, 512, settings.batch_tokens)
    return sum(size <= largest for size in (1, 2, 4, *range(8, 256, 8), *range(256, 513, 16)))


def _graphs(model: Architecture, settings: EngineSettings, split: Split) -> int:
    """Return vLLM's own estimate of its CUDA graphs: both modes, each size (``profile_cudagraph_memory``, 0.22)."""
    layers = -(-len(model.layers) // split.pipeline)
    each = max(MIB, GRAPH_BYTES_PER_LAYER * layers)
    return FIRST_GRAPH_BYTES + 2 * (capture_sizes(settings) - 1) * each


def _lora(model: Architecture, settings: EngineSettings, split: Split) -> int:
    """Return the bytes of the LoRA slots, which vLLM allocates for every matrix of every layer beforehand."""
    if not settings.lora_slots:
        return 0
    fused, queries = layer_widths(model, split.tensor)
    width = model.intermediate // split.tensor
    per_layer = 4 * model.hidden + fused + queries + 3 * width + 2 * model.hidden + model.hidden
    layers = math.ceil(len(model.layers) / split.pipeline)
    return settings.lora_slots * settings.lora_rank * per_layer * layers * model.dtype_bytes
