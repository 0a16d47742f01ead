"""One name for one meaning: what other engines call their metrics becomes what vLLM calls them. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from tritonfleet.engines.base import EngineAdapter
from tritonfleet.engines.vllm_metrics import MEANINGS

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
