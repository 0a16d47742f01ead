"""KV tokens by vLLM's rules, computed here by hand from its sources."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.planner.shapes import CONFIGS
from tritonfleet.planner.architecture import read_architecture
from tritonfleet.planner.kv_cache import kv_cache
from tritonfleet.planner.parameters import Split

GIB = 2**30


def test_full_attention_is_a_division() -> None:
    """Llama-2-7B: half a MiB a token, in blocks of sixteen."""
    cache = kv_cache(read_architecture(CONFIGS["llama-2-7b"], "l"), batch_tokens=8192)
    assert cache.bytes_per_token == 512 * 1024
    assert cache.tokens(10 * GIB, 4096) == 20480
    assert cache.sequences(10 * GIB, 4096) == 5.0


@pytest.mark.parametrize(
    ("name", "per_token"),
    [("qwen3-8b", 147456), ("qwen2-0.5b", 12288), ("deepseek-v3", 61 * 576 * 2), ("mixtral-8x7b", 131072)],
)
def test_bytes_per_token(name: str, per_token: int) -> None:
    """Grouped heads and latent attention shrink the cache."""
    assert kv_cache(read_architecture(CONFIGS[name], name), batch_tokens=8192).bytes_per_token == per_token


def test_gemma_is_dealt_into_groups_of_ten_layers() -> None:
    """10 full and 52 sliding layers: one full group and six sliding ones, the last of them padded."""
    cache = kv_cache(read_architecture(CONFIGS["gemma-3-27b"], "g"), batch_tokens=8192)
    assert (cache.full_groups, cache.sliding_groups, cache.block_bytes) == (1, 6, 10 * 16 * 2 * 16 * 128 * 2)
    # 131072 tokens in the full group; window - 1 + batch = 9215 tokens and a block more in each sliding one.
    assert cache.blocks_for(131072) == 8192 + 6 * (576 + 1)


def test_all_sliding_layers_hold_a_window() -> None:
    """Mistral-7B of the first kind: a long sequence needs window and batch, not its length."""
    cache = kv_cache(read_architecture(CONFIGS["mistral-7b"], "m"), batch_tokens=8192)
    assert cache.blocks_for(32768) == -(-(4095 + 8192) // 16) + 1


def test_parallel_gpus_share_heads_and_layers() -> None:
    """Heads down to one, layers by stage; latent attention is copied to each GPU."""
    model = read_architecture(CONFIGS["llama-3-70b"], "l")
    whole = kv_cache(model, batch_tokens=8192).block_bytes
    assert kv_cache(model, Split(tensor=4), batch_tokens=8192).block_bytes * 4 == whole
    assert kv_cache(model, Split(tensor=16), batch_tokens=8192).block_bytes * 8 == whole
    assert kv_cache(model, Split(pipeline=4), batch_tokens=8192).block_bytes * 4 == whole
    latent = read_architecture(CONFIGS["deepseek-v3"], "d")
    one, eight = kv_cache(latent, batch_tokens=8192), kv_cache(latent, Split(tensor=8), batch_tokens=8192)
    assert one.block_bytes == eight.block_bytes


def test_an_fp8_cache_is_half() -> None:
    """One byte for each number."""
    model = read_architecture(CONFIGS["llama-2-7b"], "l")
    two, one = (kv_cache(model, batch_tokens=8192, element_bytes=size).block_bytes for size in (2, 1))
    assert one * 2 == two


@given(
    st.sampled_from(["llama-2-7b", "mistral-7b", "gemma-3-27b", "deepseek-v3"]),
    st.integers(0, 200 * GIB),
    st.integers(1, 40_000),
)
def test_the_longest_sequence_fits_and_one_more_token_does_not(name: str, available: int, limit: int) -> None:
    """By the same rule that sets blocks aside."""
    cache = kv_cache(read_architecture(CONFIGS[name], name), batch_tokens=2048)
    longest = cache.longest(available, limit)
    assert longest == 0 or cache.bytes_for(longest) <= available
    assert longest == limit or cache.bytes_for(longest + 1) > available
