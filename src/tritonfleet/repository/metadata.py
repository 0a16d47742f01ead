"""What rendering needs of a spec's sources, without their weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tritonfleet.progress import Progress
from tritonfleet.sources import ResolvedModel, resolve_source
from tritonfleet.spec.models import FleetSpec


def resolve_metadata(
    spec: FleetSpec, *, base: Path, cache: Path, environ: Mapping[str, str], progress: Progress
) -> dict[str, ResolvedModel]:
    """Return every model's resolved source by name, with config and chat template but without weights.

    Adapters that are local folders are in it too; remote ones are left to the machine that serves them.

    Raises SourceError for the first source that cannot be read.
    """
    resolved: dict[str, ResolvedModel] = {}
    for model in spec.models:
        resolved[model.name] = resolve_source(
            model.source, base=base, cache=cache, environ=environ, progress=progress, want="metadata"
        )
        for name, source in model.lora.items():
            if "://" not in source:
                resolved[name] = resolve_source(source, base=base, cache=cache, environ=environ, want="adapter")
    return resolved
