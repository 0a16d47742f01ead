"""The Helm values and the Terraform inputs of a fleet. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import yaml

from tritonfleet.deploy.autoscaling import scaling_values
from tritonfleet.deploy.cluster_spec import ClusterFleet
from tritonfleet.deploy.pools import Pool
from tritonfleet.deploy.sizes import family
from tritonfleet.spec.models import FleetSpec, ModelSpec

HEADER = "# Made by `tritonfleet deploy render` from fleet.yaml; change that file, or lay values of your own on top.\n"


def values_text(fleet: ClusterFleet, pools: Sequence[Pool], registry: str = "") -> str:
    """Return values.yaml; *registry* is where the images are."""
    image = {"image": {"registry": registry}} if registry else {}
    return HEADER + _yaml(values(fleet, pools) | image)


def values(fleet: ClusterFleet, pools: Sequence[Pool]) -> dict[str, Any]:
    """Return the chart's values."""
    models = {model.name: _model(model) for model in fleet.spec.models}
    for pool in pools:
        if pool.nodes > 1:  # vLLM's own processes stay on one node; Ray's reach the others
            models[pool.models[0].name].setdefault("engine_args", {}).setdefault("distributed_executor_backend", "ray")
    return {
        "fleet": _shared(fleet.spec),
        "models": models,
        "pools": {pool.name: _pool(fleet.spec, pool) for pool in pools},
        # Requests of the OpenAI API name their model in the body: with several pools somebody has to look. Where a pool
        # may have no pod, the door holds the requests that wake it (gateway.hold_seconds).
        "door": {"enabled": len(pools) > 1 or any(pool.minimum == 0 for pool in pools)},
    }


def fleet_text(fleet: ClusterFleet) -> str:
    """Return the whole fleet as pods run it, as fleet.yaml."""
    models = [{"name": model.name, **_model(model)} for model in fleet.spec.models]
    doors = fleet.spec.doors.model_dump(mode="json")
    return HEADER + _yaml({**_shared(fleet.spec), "models": models, "doors": doors})


def terraform_text(fleet: ClusterFleet, pools: Sequence[Pool], *, token_required: bool) -> str:
    """Return terraform.tfvars.json: inputs of the stacks, and what install.sh asks."""
    return json.dumps(terraform_inputs(fleet, pools, token_required=token_required), indent=2) + "\n"


def terraform_inputs(fleet: ClusterFleet, pools: Sequence[Pool], *, token_required: bool) -> dict[str, Any]:
    """Return what terraform.tfvars.json holds."""
    devices: dict[str, int] = {}
    for pool in pools:
        if pool.gpus:
            kind = family(pool.instance_types[0])
            # A whole node more: a new version's pod starts before an old one goes.
            asked = pool.maximum * pool.nodes * pool.gpus + pool.nodes * pool.node_gpus
            devices[kind] = devices.get(kind, 0) + math.ceil(asked / pool.node_gpus) * pool.node_gpus
    return {
        "models": [model.name for model in fleet.spec.models if model.load],
        "pools": {
            pool.name: {
                "instance_types": list(pool.instance_types),
                "minimum": pool.minimum * pool.nodes,
                "maximum": pool.maximum * pool.nodes,
            }
            for pool in pools
        },
        "hugging_face_token_required": token_required,
        "accelerator_families": sorted(devices),
        "accelerator_limit": max(devices.values(), default=1),
        "leader_worker_set": any(pool.nodes > 1 for pool in pools),
    }


def _shared(spec: FleetSpec) -> dict[str, Any]:
    """Return what every pod's fleet.yaml holds beside its models."""
    shared: dict[str, Any] = {"name": spec.name}
    # Whole: the chart computes grace periods and probes from it.
    shared["lifecycle"] = spec.lifecycle.model_dump(mode="json")
    for section in type(spec).model_fields:
        if section in ("name", "models", "doors", "runtimes", "lifecycle"):
            continue
        value = getattr(spec, section)
        if value != type(spec).model_fields[section].get_default(call_default_factory=True):
            shared[section] = spec.model_dump(mode="json", include={section}, exclude_defaults=True)[section]
    return shared


def _model(model: ModelSpec) -> dict[str, Any]:
    """Return the model's entry in fleet.yaml without its name and without what scales its pod."""
    data = model.model_dump(mode="json", exclude_defaults=True, exclude={"name", "scaling"})
    return {"source": data.pop("source"), **data}


def _pool(spec: FleetSpec, pool: Pool) -> dict[str, Any]:
    asked = pool.resources
    found: dict[str, Any] = {
        "models": [model.name for model in pool.models],
        "gpus": pool.gpus,
        "nodes": pool.nodes,
        "instanceTypes": list(pool.instance_types) if pool.gpus else [],
        "resources": {
            "cpu": str(asked.cpu),
            "memory": f"{asked.memory_gib}Gi",
            "sharedMemory": f"{asked.shared_gib}Gi",
            "cache": f"{asked.cache_gib}Gi",
        },
        "replicas": pool.minimum,
    }
    scaling = scaling_values(spec, pool.name)
    return found if scaling is None else {**found, "scaling": scaling}


def _yaml(value: object) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=120, default_flow_style=False)
