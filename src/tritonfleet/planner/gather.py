"""Fetch the facts of a whole fleet; not pure: sources are asked, downloads may happen."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tritonfleet.errors import SourceError
from tritonfleet.planner.facts import ModelFacts, read_facts
from tritonfleet.sources import resolve_source
from tritonfleet.spec.models import FleetSpec


def gather_facts(
    spec: FleetSpec,
    *,
    base: Path,
    cache: Path,
    environ: Mapping[str, str],
    weights: bool = False,
    lenient: bool = False,
) -> dict[str, ModelFacts]:
    """Return the facts of every model of *spec*; remote sources are asked for their small files only.

    With *weights* whole models are fetched, whose headers make the sizes exact. Raises SourceError naming the model:
    for a source that is not there, and for a model whose memory cannot be computed unless *lenient*.
    """
    facts = {}
    for model in spec.models:
        found = resolve_source(
            model.source, base=base, cache=cache, environ=environ, want="model" if weights else "metadata"
        )
        try:
            facts[model.name] = read_facts(model, found.path)
        except SourceError as err:
            if not lenient:
                raise
            facts[model.name] = ModelFacts(None, unknown=str(err))
    return facts
