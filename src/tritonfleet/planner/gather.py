"""Fetch the facts of a whole fleet; not pure: sources are asked, downloads may happen."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tritonfleet.errors import SourceError
from tritonfleet.planner.facts import ModelFacts, read_facts
from tritonfleet.progress import Progress, silent
from tritonfleet.sources import Want, resolve_source
from tritonfleet.sources.model import NoConfig
from tritonfleet.spec.models import FleetSpec, ModelSpec


def gather_facts(
    spec: FleetSpec,
    *,
    base: Path,
    cache: Path,
    environ: Mapping[str, str],
    weights: bool = False,
    lenient: bool = False,
    progress: Progress = silent,
) -> dict[str, ModelFacts]:
    """Return the facts of every model of *spec*; remote sources are asked for their small files only.

    With *weights* whole models are fetched, whose headers make the sizes exact. Raises SourceError naming the model:
    for a source that cannot be read, and unless *lenient* for a model whose memory cannot be computed.
    """
    facts: dict[str, ModelFacts] = {}
    for model in spec.models:
        if not weights and _plans_itself(model):
            facts[model.name] = ModelFacts(None)
            continue
        want: Want = "model" if weights else "metadata"
        try:
            found = resolve_source(model.source, base=base, cache=cache, environ=environ, want=want, progress=progress)
        except NoConfig as err:  # a remote one may hold a .gguf file alone, which the small files do not tell
            if not lenient or "://" not in model.source:
                raise
            facts[model.name] = ModelFacts(None, unknown=str(err))
            continue
        try:
            facts[model.name] = read_facts(model, found.path)
        except SourceError as err:
            if not lenient:
                raise
            facts[model.name] = ModelFacts(None, unknown=str(err))
    return facts


def _plans_itself(model: ModelSpec) -> bool:
    """Say whether *model* is a remote one of which the small files tell nothing: a .gguf file is all there is."""
    return "://" in model.source and (model.engine == "llamacpp" or ".gguf" in model.source)
