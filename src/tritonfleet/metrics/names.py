"""One name for one meaning: what other engines call their metrics becomes what vLLM calls them. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from tritonfleet.engines.base import EngineAdapter, Meaning

#: vLLM's name of each meaning.
MEANINGS: Mapping[Meaning, str] = {
    "running": "vllm:num_requests_running",
    "waiting": "vllm:num_requests_waiting",
    "kv_cache_usage": "vllm:kv_cache_usage_perc",
    "prompt_tokens": "vllm:prompt_tokens_total",
    "generated_tokens": "vllm:generation_tokens_total",
    "ttft_seconds": "vllm:time_to_first_token_seconds",
    "inter_token_seconds": "vllm:inter_token_latency_seconds",
    "request_seconds": "vllm:e2e_request_latency_seconds",
    "queue_seconds": "vllm:request_queue_time_seconds",
    "prefill_seconds": "vllm:request_prefill_time_seconds",
    "decode_seconds": "vllm:request_decode_time_seconds",
    "finished": "vllm:request_success_total",
    "prefix_hits": "vllm:prefix_cache_hits_total",
    "prefix_queries": "vllm:prefix_cache_queries_total",
}
#: What older releases of vLLM call a metric; some show both names for a while.
OLDER: Mapping[str, str] = {
    "vllm:time_per_output_token_seconds": "vllm:inter_token_latency_seconds",
    "vllm:gpu_cache_usage_perc": "vllm:kv_cache_usage_perc",
    "vllm:gpu_prefix_cache_queries_total": "vllm:prefix_cache_queries_total",
    "vllm:gpu_prefix_cache_hits_total": "vllm:prefix_cache_hits_total",
}


def renamed(adapter: EngineAdapter) -> Mapping[str, tuple[str, ...]]:
    """Return the engine's own names, each with the names that its metric gets; one may have two meanings."""
    found: dict[str, tuple[str, ...]] = {}
    for meaning, own in adapter.metric_names.items():
        found[own] = (*found.get(own, ()), MEANINGS[meaning])
    return found


def older_in(page: str) -> Mapping[str, tuple[str, ...]]:
    """Return the older names on a page that does not have the newer ones."""
    return {old: (new,) for old, new in OLDER.items() if f"# TYPE {old} " in page and f"# TYPE {new} " not in page}
