"""The spec as pods run it: no GPU numbers of one machine, doors open to the cluster, programs of the image. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tritonfleet.errors import UsageError
from tritonfleet.spec.models import Door, Doors, FleetSpec, ModelSpec, RuntimeChoice

#: Chart and image know these ports, so a spec's own are left out.
CLUSTER_DOORS = Doors(
    http=Door(host="0.0.0.0", port=8000),  # noqa: S104 - inside a pod, behind its network policy
    grpc=Door(host="0.0.0.0", port=8001),  # noqa: S104
    metrics=Door(host="0.0.0.0", port=8002),  # noqa: S104
    openai=Door(host="0.0.0.0", port=9000),  # noqa: S104
)
#: Engines that NVIDIA's vLLM image of Triton brings.
IMAGE_ENGINES = frozenset({"vllm", "fake"})


@dataclass(frozen=True)
class ClusterFleet:
    """A fleet as pods run it."""

    spec: FleetSpec
    """Every model names its pool."""
    replicas: Mapping[str, int]
    """Pods of each pool while nothing scales it: of a lone model, the replicas that its spec asks for."""
    notes: tuple[str, ...]
    """What was changed that a person may not expect."""


def cluster_spec(spec: FleetSpec) -> ClusterFleet:
    """Return *spec* as pods run it.

    Raises UsageError for what only one machine has: folders, and names that Kubernetes does not take.
    """
    _refuse_local(spec)
    pools = pool_names(spec)
    notes = []
    if spec.runtimes != RuntimeChoice():
        notes.append("runtimes is left out: pods use the programs of their image")
    if spec.doors != Doors():
        notes.append("doors is left out: pods listen on 8000, 8001, 8002 and 9000, the load balancer on 80")
    foreign = sorted({model.engine for model in spec.models} - IMAGE_ENGINES)
    notes += [
        f"the engine {engine} is not in the default image: set pools.POOL.image in a values file of your own"
        for engine in foreign
    ]
    on_cpu = [model.name for model in spec.models if model.devices == "cpu" and model.engine == "vllm"]
    if on_cpu:
        notes.append(f"{', '.join(on_cpu)}: vLLM on the CPU needs the image of the Dockerfile's target cpu (image.cpu)")
    models = tuple(_cluster_model(model, pools[model.name], alone=_alone(model, spec)) for model in spec.models)
    replicas = {pools[model.name]: model.replicas if _alone(model, spec) else 1 for model in spec.models}
    # Whoever loads a model runs code in the pod; here the fleet alone does.
    repository = spec.repository.model_copy(update={"api": "closed"})
    kept = {"models": models, "doors": CLUSTER_DOORS, "runtimes": RuntimeChoice(), "repository": repository}
    changed = spec.model_copy(update=kept)
    return ClusterFleet(changed, replicas, tuple(notes))


def pool_names(spec: FleetSpec) -> dict[str, str]:
    """Return the pool of every model by the model's name, as Kubernetes writes it.

    Raises UsageError where two pools would get the same name.
    """
    seen: dict[str, str] = {}
    found = {}
    for model in spec.models:
        pool = spec.pool_of(model)
        name = kubernetes_name(pool)
        if seen.setdefault(name, pool) != pool:
            raise UsageError(
                f"the pools {seen[name]!r} and {pool!r} would both be called {name!r} in Kubernetes; "
                "give one of their models another pool"
            )
        found[model.name] = name
    return found


def kubernetes_name(text: str) -> str:
    """Return *text* in the letters that Kubernetes takes, at most 40 of them."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40].strip("-") or "pool"


def near(name: str, known: Iterable[str]) -> str:
    """Return the hint for a name that is none of *known*."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(names)}"


def _alone(model: ModelSpec, spec: FleetSpec) -> bool:
    pool = spec.pool_of(model)
    return sum(spec.pool_of(other) == pool for other in spec.models) == 1


def _cluster_model(model: ModelSpec, pool: str, *, alone: bool) -> ModelSpec:
    """Return *model* for its pod: GPUs by count, not number; the replicas of a lone one are pods."""
    devices = model.devices if model.devices == "cpu" else "auto"
    return model.model_copy(update={"devices": devices, "pool": pool, "replicas": 1 if alone else model.replicas})


def _refuse_local(spec: FleetSpec) -> None:
    for model in spec.models:
        for what, source in ((model.name, model.source), *model.lora.items()):
            if "://" not in source:
                raise UsageError(
                    f"{what}: {source} is a folder of this machine, and pods do not see it; copy it with "
                    f"`tritonfleet repository push --no-check {source} s3://BUCKET/{what}` and write that address as "
                    "its source"
                )
    for entry in spec.repository.include:
        if "://" not in entry:
            raise UsageError(
                f"repository.include: {entry} is a folder of this machine, and pods do not see it; copy it with "
                f"`tritonfleet repository push {entry} s3://BUCKET/model_repository` and include that address"
            )
