"""How many tokens of KV cache fit into a number of bytes, by vLLM's own rules. Pure.

vLLM cuts the cache into blocks that all layers' groups share. Layers of one kind make one group; where full and
sliding layers are mixed, the layers are dealt into groups of equal size and a sliding group needs no more blocks for
a sequence than its window and one batch. Source: ``vllm/v1/core/kv_cache_utils.py`` (``get_kv_cache_groups``,
``_get_kv_cache_groups_uniform_page_size``, ``_report_kv_cache_config``) and ``vllm/v1/kv_cache_interface.py``, 0.22.
"""

from __future__ import annotations

from dataclasses import dataclass

from tritonfleet.planner.architecture import Architecture
from tritonfleet.planner.parameters import ONE_GPU, Split, kv_heads_per_gpu, stage_layers

#: Tokens in a block (``CacheConfig.DEFAULT_BLOCK_SIZE``); FlashMLA's kernel asks for 64.
BLOCK_TOKENS = 16
MLA_BLOCK_TOKENS = 64


@dataclass(frozen=True)
class KvCache:
    """The cache's layout on one GPU."""

    block_bytes: int
    """Bytes of one block over all layers that share it."""
    block_tokens: int
    full_groups: int
    sliding_groups: int
    window: int
    """Tokens that a sliding layer sees; 0 without such layers."""
    batch_tokens: int
    """``max_num_batched_tokens``: what a sliding group holds beyond its window."""

    @property
    def bytes_per_token(self) -> int:
        """Bytes that one more token of a long sequence takes, the sliding layers' windows being full."""
        return self.block_bytes * max(self.full_groups, 1) // self.block_tokens

    def blocks_for(self, tokens: int) -> int:
        """Return the blocks that vLLM sets aside for one sequence of *tokens* tokens."""
        full = -(-tokens // self.block_tokens)
        if not self.sliding_groups:
            return self.full_groups * full
        held = min(self.window - 1 + self.batch_tokens, tokens)
        return self.full_groups * full + self.sliding_groups * (-(-held // self.block_tokens) + 1)

    def bytes_for(self, tokens: int) -> int:
        """Return the bytes that one sequence of *tokens* tokens needs."""
        return self.blocks_for(tokens) * self.block_bytes

    def sequences(self, available: int, tokens: int) -> float:
        """Return how many sequences of *tokens* tokens *available* bytes hold ("Maximum concurrency" in vLLM's log)."""
        return max(0, available // self.block_bytes) / self.blocks_for(tokens)

    def tokens(self, available: int, longest: int) -> int:
        """Return the tokens that *available* bytes hold ("GPU KV cache size" in vLLM's log)."""
        return int(self.sequences(available, longest) * longest)

    def longest(self, available: int, limit: int) -> int:
        """Return the longest sequence of at most *limit* tokens that fits into *available* bytes; 0 if none does."""
        low, high = 0, limit
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.bytes_for(middle) <= available else (low, middle - 1)
        return low


def kv_cache(
    model: Architecture, split: Split = ONE_GPU, *, batch_tokens: int, element_bytes: int = 2, block_tokens: int = 0
) -> KvCache:
    """Return the layout of the cache on the GPU of a replica that holds most layers.

    Args:
        batch_tokens: ``max_num_batched_tokens`` of the engine.
        element_bytes: bytes of one cached number, 1 for an fp8 cache.
        block_tokens: ``block_size`` of the engine; 0 for its default.
    """
    layers = max(stage_layers(len(model.layers), split.pipeline))
    if model.mla:
        tokens = block_tokens or MLA_BLOCK_TOKENS
        width = model.mla.kv_rank + model.mla.rope_dim
        return KvCache(layers * tokens * width * element_bytes, tokens, 1, 0, 0, batch_tokens)
    tokens = block_tokens or BLOCK_TOKENS
    page = 2 * tokens * kv_heads_per_gpu(model, split.tensor) * model.head_dim * element_bytes
    share = -(-model.sliding_layers * layers // len(model.layers))
    per_group, full_groups, sliding_groups = _groups(layers - share, share)
    window = model.window or 0
    return KvCache(per_group * page, tokens, full_groups, sliding_groups, window if sliding_groups else 0, batch_tokens)


def _groups(full: int, sliding: int) -> tuple[int, int, int]:
    """Return layers in a group, and the groups of full and of sliding layers."""
    if not full or not sliding:
        return full + sliding, int(full > 0), int(sliding > 0)
    few, many = sorted((full, sliding))
    size = many if many < few * 1.5 else few
    return size, -(-full // size), -(-sliding // size)
