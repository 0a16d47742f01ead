"""Engine adapters by name; each is imported when it is first asked for."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from tritonfleet.engines.base import Call, Command, EngineAdapter, Launch, Meaning, Runtime

_HOMES = {
    "vllm": "tritonfleet.engines.vllm:VLLM",
    "tensorrt-llm": "tritonfleet.engines.tensorrt_llm:TensorRTLLM",
    "sglang": "tritonfleet.engines.sglang:SGLang",
    "llamacpp": "tritonfleet.engines.llamacpp:LlamaCpp",
    "fake": "tritonfleet.engines.fake:Fake",
}


def adapter(name: str) -> EngineAdapter:
    """Return the adapter called *name* (one of spec.EngineName)."""
    module, _, attribute = _HOMES[name].partition(":")
    return cast("EngineAdapter", getattr(import_module(module), attribute)())


__all__ = ["Call", "Command", "EngineAdapter", "Launch", "Meaning", "Runtime", "adapter"]
