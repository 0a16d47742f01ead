"""Make a ModelSpec of a model that stands in somebody's own Triton repository (NVIDIA's vllm_backend layout)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tritonfleet.errors import SpecError
from tritonfleet.spec.models import ModelSpec

#: vLLM's engine arguments that have a key of their own in the spec.
_OWN_KEYS = {
    "dtype": "dtype",
    "max_model_len": "max_model_len",
    "tensor_parallel_size": "tensor_parallel",
    "pipeline_parallel_size": "pipeline_parallel",
}


def adopt(name: str, model_dir: Path, version: str) -> ModelSpec:
    """Read ``VERSION/model.json`` (and ``multi_lora.json``) below *model_dir*.

    Raises SpecError, in NVIDIA's words where its clients look for them, when a file is missing or wrong.
    """
    folder = model_dir / version
    arguments = _read_json(folder / "model.json")
    if arguments is None:
        raise SpecError(f"'model.json' containing vllm engine args must be provided in '{folder}'")
    model = arguments.pop("model", None)
    if not isinstance(model, str):
        raise SpecError(f"{folder / 'model.json'}: `model` must name a folder or a Hugging Face model")
    own: dict[str, Any] = {}
    for theirs, ours in _OWN_KEYS.items():
        value = arguments.pop(theirs, None)
        if value is not None:
            own[ours] = int(value) if ours != "dtype" else {"half": "float16", "float": "float32"}.get(value, value)
    lora = {}
    if str(arguments.get("enable_lora", "")).lower() == "true":
        found = _read_json(folder / "multi_lora.json")
        if found is None:
            raise SpecError(f"Triton backend cannot find {folder / 'multi_lora.json'}.")
        lora = {key: _source(str(path), folder) for key, path in found.items()}
    try:
        return ModelSpec(name=name, source=_source(model, folder), engine_args=arguments, lora=lora, **own)
    except (ValidationError, ValueError) as err:
        raise SpecError(f"{folder / 'model.json'}: {err}") from err


def _source(text: str, folder: Path) -> str:
    if "://" in text or Path(text).is_absolute():
        return text
    return str(folder / text) if (folder / text).exists() else f"hf://{text}"


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as err:
        raise SpecError(f"{path}: cannot be read as JSON: {err}") from err
    if not isinstance(data, dict):
        raise SpecError(f"{path}: must hold a JSON object")
    return data
