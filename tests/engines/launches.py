"""Launches for the tests of the adapters."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tritonfleet.engines.base import Launch, Runtime
from tritonfleet.spec.models import EngineName, ModelSpec
from tritonfleet.wire import Endpoint

SOCKET = Endpoint(uds="/run/engine.sock")
PORT = Endpoint(host="127.0.0.1", port=18100)


def launch(
    engine: EngineName = "vllm",
    *,
    kind: str = "vllm",
    version: str = "0.32.0",
    engine_args: Mapping[str, Any] | None = None,
    model_path: Path | str = Path("/models/llama2"),
    endpoint: Endpoint = SOCKET,
    gpus: tuple[int, ...] = (0,),
    cpu_cores: tuple[int, ...] = (),
    loras: Mapping[str, str] | None = None,
    **spec: Any,
) -> Launch:
    """Return a launch of the model ``llama2``; what a test does not name is plain."""
    model = ModelSpec(
        name="llama2",
        source="/models/llama2",
        engine=engine,
        engine_args=dict(engine_args or {}),
        lora=dict(loras or {}),
        **spec,
    )
    return Launch(
        model=model,
        model_path=model_path,
        lora_paths={name: Path(path) for name, path in (loras or {}).items()},
        endpoint=endpoint,
        runtime=Runtime(kind, version, Path("/rt/bin/python"), "found", env={"RUNTIME": "yes"}),
        gpus=gpus,
        cpu_cores=cpu_cores,
    )
