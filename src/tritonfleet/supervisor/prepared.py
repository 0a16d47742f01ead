"""What must be on this machine before a fleet's first process starts, as values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tritonfleet.engines.base import EngineAdapter, Runtime
from tritonfleet.layout import Layout
from tritonfleet.planner.devices import Machine
from tritonfleet.spec.models import FleetSpec, ModelSpec
from tritonfleet.supervisor.placement import Placement


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
    machine: Machine
    """What this machine has."""
    placement: Placement
    """Where each replica goes, and the share groups."""
    cores: tuple[int, ...]
    """Cores that this process may use."""
    environ: dict[str, str]
    prepare_model: Callable[[ModelSpec], PreparedModel]
    """Fetches a model that is found in somebody's own repository; slow, so called in a thread."""
