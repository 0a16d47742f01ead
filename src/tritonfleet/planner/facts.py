"""Facts of a model that the plan needs, and how they are read from its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tritonfleet.engines.arguments import read_arguments
from tritonfleet.errors import SourceError
from tritonfleet.planner.architecture import Architecture, read_architecture
from tritonfleet.planner.quantization import online
from tritonfleet.planner.weights import StoredWeights, read_stored_weights
from tritonfleet.spec.models import ModelSpec


@dataclass(frozen=True)
class ModelFacts:
    """What is known of a model's memory without loading it."""

    architecture: Architecture | None
    """None for a model whose engine plans its memory itself: a .gguf file, the fake engine."""
    stored: StoredWeights | None = None
    """Sizes out of the files' headers; None where the files are not here."""
    file_bytes: int = 0
    """Size of a .gguf file."""
    unknown: str = ""
    """Why nothing is known, where something should be."""


def read_facts(model: ModelSpec, path: Path) -> ModelFacts:
    """Return the facts of *model*, whose folder (or .gguf file) is *path*.

    Raises SourceError if its config.json or its safetensors files cannot be read.
    """
    if path.is_file():
        return ModelFacts(None, file_bytes=path.stat().st_size)
    if model.engine == "fake":
        return ModelFacts(None)
    file = path / "config.json"
    if not file.is_file():
        raise SourceError(f"{model.name}: {path} has no config.json, so its memory cannot be computed")
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise SourceError(f"{model.name}: {file} is not JSON: {err}") from err
    if not isinstance(config, dict):
        raise SourceError(f"{model.name}: {file} holds no JSON object")
    architecture = architecture_of(model, config)
    stored_in = 4 if "float32" in (config.get("torch_dtype"), config.get("dtype")) else 2
    if read_arguments(model.name, model.engine_args).get("load_format") == "dummy":
        return ModelFacts(architecture)  # the engine makes weights up, whatever the files hold
    return ModelFacts(architecture, read_stored_weights(path, len(architecture.layers), element_bytes=stored_in))


def architecture_of(model: ModelSpec, config: Mapping[str, Any]) -> Architecture:
    """Return the shape of *model*, with the spec's ``dtype`` and ``quantization`` in place of the config's own."""
    architecture = read_architecture(config, model.name, dtype=model.dtype)
    method = read_arguments(model.name, model.engine_args).get("quantization")
    if method and not architecture.quantization.bits:
        return replace(architecture, quantization=online(str(method)))
    return architecture
