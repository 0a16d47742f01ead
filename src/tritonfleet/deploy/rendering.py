"""``render``: every file of a deployment, from a spec, its models' facts and their metadata. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from tritonfleet.deploy.cluster_spec import cluster_spec
from tritonfleet.deploy.pools import Pool, plan_pools
from tritonfleet.deploy.values import fleet_text, terraform_text, values_text
from tritonfleet.planner import ModelFacts
from tritonfleet.repository import render_repository
from tritonfleet.sources import ResolvedModel
from tritonfleet.spec.models import FleetSpec, ModelSpec

REPOSITORY = PurePosixPath("model_repository")
NO_REGISTRY = (
    "the images have no registry: build deploy/image/Dockerfile, push what it makes, and name the place with --registry"
)


@dataclass(frozen=True)
class Rendered:
    """A deployment as files."""

    files: Mapping[PurePosixPath, str]
    """Text by path, the model repository left out."""
    repository: Mapping[PurePosixPath, str]
    """The Triton model repository, by path inside it."""
    pools: tuple[Pool, ...]
    notes: tuple[str, ...]
    """What a person should know."""


def render(
    spec: FleetSpec,
    facts: Mapping[str, ModelFacts],
    resolved: Mapping[str, ResolvedModel],
    *,
    chosen: Mapping[str, str] | None = None,
    token_required: bool = False,
    registry: str = "",
) -> Rendered:
    """Return the files that install.sh, Terraform and Helm take.

    Args:
        spec: the fleet.
        facts: each model's facts by its name (``planner.gather_facts``).
        resolved: each model's metadata by its name (``repository.resolve_metadata``).
        chosen: instance types of pools, where the cheapest is not wanted.
        token_required: whether weights come from gated models of the Hub.
        registry: address of the images, such as 111122223333.dkr.ecr.us-west-2.amazonaws.com.

    Raises CapacityError where a pool fits on no instance type, UsageError for what cannot run in pods.
    """
    fleet = cluster_spec(_pinned(spec, resolved))
    pools = plan_pools(fleet, facts, chosen)
    files = {
        PurePosixPath("fleet.yaml"): fleet_text(fleet),
        PurePosixPath("values.yaml"): values_text(fleet, pools, registry),
        PurePosixPath("terraform.tfvars.json"): terraform_text(fleet, pools, token_required=token_required),
    }
    notes = (*fleet.notes, *_still(pools), *(() if registry else (NO_REGISTRY,)))
    return Rendered(files, render_repository(fleet.spec, resolved), pools, notes)


def _pinned(spec: FleetSpec, resolved: Mapping[str, ResolvedModel]) -> FleetSpec:
    """Return *spec* with the commits that the Hub's models have now, so that every pod serves the same one."""

    def pin(model: ModelSpec) -> ModelSpec:
        found = resolved[model.name]
        if found.kind != "hub" or not found.revision or model.source.endswith(".gguf"):
            return model
        return model.model_copy(update={"source": f"{model.source.partition('@')[0]}@{found.revision}"})

    return spec.model_copy(update={"models": tuple(map(pin, spec.models))})


def _still(pools: tuple[Pool, ...]) -> tuple[str, ...]:
    names = [pool.name for pool in pools if all(model.scaling is None for model in pool.models)]
    if not names:
        return ()
    return (f"nothing scales {', '.join(names)}: write `scaling:` below a model to let its pods follow the load",)
