"""What a model's ``config.pbtxt`` and ``model.json`` tell the bridge. Pure, except for reading ``model.json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tritonfleet.bridge import codec
from tritonfleet.bridge.failure import BridgeError

#: NVIDIA's words.
_MULTI_GPU_KIND = (
    "KIND_GPU is currently for single-GPU models, please specify KIND_MODEL in the model's config.pbtxt for multi-GPU "
    "models"
)


@dataclass(frozen=True)
class Settings:
    """How the bridge treats one model's requests."""

    model: str
    version: str
    report_engine_metrics: bool = False
    """Serve ``vllm:*`` metrics at Triton's own metrics port."""
    health_check: bool = False
    """Ask the engine for its health before each request, and unload the model when it is sick."""
    timeout_seconds: float | None = None
    """Deadline of requests that bring none."""


def read_settings(
    model: str, version: str, config: Mapping[str, Any], arguments: Mapping[str, Any], kind: str
) -> Settings:
    """Return the settings of *model*; *kind* is the instance's, for example ``GPU``.

    Raises BridgeError, in NVIDIA's words where there are any, for what cannot be served.
    """
    if not config.get("model_transaction_policy", {}).get("decoupled", False):
        raise BridgeError(f"{model}: the vLLM backend needs `model_transaction_policy {{ decoupled: true }}`")
    gpus = _size(arguments, "tensor_parallel_size") * _size(arguments, "pipeline_parallel_size")
    if kind.removeprefix("KIND_") == "GPU" and gpus > 1:
        raise BridgeError(_MULTI_GPU_KIND)
    parameters = {name: value.get("string_value", "") for name, value in config.get("parameters", {}).items()}
    quiet = str(arguments.get("disable_log_stats", "")).lower() == "true"
    return Settings(
        model=model,
        version=version,
        report_engine_metrics=parameters.get("REPORT_CUSTOM_METRICS", "").lower() in {"true", "yes"} and not quiet,
        health_check=parameters.get("ENABLE_VLLM_HEALTH_CHECK", "").lower() == "true",
        timeout_seconds=_seconds(parameters.get("REQUEST_TIMEOUT_SECONDS", "")),
    )


def read_arguments(folder: Path) -> dict[str, Any]:
    """Return the engine arguments in *folder*'s ``model.json``; raise BridgeError if there are none."""
    path = folder / "model.json"
    try:
        arguments = codec.loads(path.read_bytes())
    except FileNotFoundError:
        raise BridgeError(f"'model.json' containing vllm engine args must be provided in '{folder}'") from None
    except (OSError, ValueError) as err:
        raise BridgeError(f"{path} cannot be read as JSON: {err}") from err
    if not isinstance(arguments, dict):
        raise BridgeError(f"{path} must hold a JSON object of engine arguments")
    return arguments


def _size(arguments: Mapping[str, Any], name: str) -> int:
    try:
        return int(arguments.get(name, 1))
    except (TypeError, ValueError):
        raise BridgeError(f"model.json: `{name}` must be an integer, got {arguments[name]!r}") from None


def _seconds(text: str) -> float | None:
    try:
        seconds = float(text or 0)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise BridgeError(
            f"config.pbtxt: REQUEST_TIMEOUT_SECONDS must be a number of seconds, 0 for no deadline, got {text!r}"
        )
    return seconds or None
