"""What must be on this machine before a fleet's first process starts, as values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tritonfleet.engines.base import EngineAdapter, Runtime
from tritonfleet.layout import Layout
from tritonfleet.spec.models import FleetSpec, ModelSpec


@dataclass(frozen=True)
class PreparedModel:
    """A model whose files and runtime are on this machine."""

    spec: ModelSpec
    path: Path
    lora_paths: dict[str, Path]
    runtime: Runtime
    adapter: EngineAdapter


@dataclass(frozen=True)
class Prepared:
    """Everything that must be there before the first process starts."""

    spec: FleetSpec
    layout: Layout
    triton: Runtime
    models: tuple[PreparedModel, ...]
    repositories: tuple[str, ...]
    """Folders and s3:// addresses for Triton, the fleet's own first."""
    gpus: int
    """GPUs on this machine."""
    cores: tuple[int, ...]
    """Cores that this process may use."""
    environ: dict[str, str]
    prepare_model: Callable[[ModelSpec], PreparedModel]
    """Fetches a model that is found in somebody's own repository; slow, so called in a thread."""
