"""How vLLM wakes up, in calls to its server in development mode."""

from __future__ import annotations

from tritonfleet.engines.base import Call


def wake_calls(level: int) -> tuple[Call, ...]:
    """Return the calls after a sleep of *level*.

    Level 2 has dropped the weights: without the reload the engine answers, and what it says is noise. The memory of
    the KV cache is taken last, so that reading the weights has room.
    """
    if level != 2:
        return (Call("POST", "/wake_up"),)
    return (
        Call("POST", "/wake_up?tags=weights"),
        Call("POST", "/collective_rpc", '{"method": "reload_weights"}'),
        Call("POST", "/wake_up?tags=kv_cache"),
        Call("POST", "/reset_prefix_cache"),
    )
