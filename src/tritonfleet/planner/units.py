"""What the packing moves as one: a replica, or a share group whose members lie on the same GPUs. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tritonfleet.errors import CapacityError, UsageError
from tritonfleet.planner.demand import Demand
from tritonfleet.planner.devices import Gpu
from tritonfleet.planner.memory import CONTEXT_BYTES, usable
from tritonfleet.planner.packing import Item
from tritonfleet.spec.models import FleetSpec, ModelSpec

#: Finds a model's demand on a GPU; None where its memory is not known.
Demands = Callable[[ModelSpec, Gpu], Demand | None]


@dataclass(frozen=True)
class Unit:
    """Engines that are placed together."""

    name: str
    members: tuple[tuple[ModelSpec, int], ...]
    """Models with the replica's number."""
    size: int
    fixed: tuple[int, ...] | None
    share: str | None = None

    @property
    def models(self) -> str:
        """The models' names, for messages."""
        return " and ".join(dict.fromkeys(model.name for model, _ in self.members))

    def check_gpus(self, have: int, machine: str) -> None:
        """Raise CapacityError if the unit names or needs GPUs that *machine*, with *have* of them, does not have."""
        missing = [gpu for gpu in self.fixed or () if gpu >= have]
        if missing:
            shown = f"GPUs 0 to {have - 1}" if have else "no GPU"
            raise CapacityError(f"{self.models}: devices names GPU {missing[0]}, but {machine} has {shown}")
        if self.size > have:
            raise CapacityError(
                f"{self.models}: each replica takes {self.size} GPU(s), but {machine} has {have}; "
                "use a smaller tensor_parallel or pipeline_parallel, or a larger machine"
            )

    def needs(self, gpu: Gpu, demands: Demands) -> int:
        """Return the bytes that the unit must have on *gpu*, contexts included.

        Of a group: the warm members, and the worst of the others awake while the rest sleep. A model of which
        nothing is known counts as nothing where its GPU is named, and else as all that may be given out; more than
        there is where a request that the user fixed is too small to start with.
        """
        found = [(model, demands(model, gpu)) for model, _ in self.members]
        known = [(model, wanted) for model, wanted in found if wanted is not None]
        if self.fixed is None and any(wanted is None and has_memory(model) for model, wanted in found):
            return usable(gpu)
        if not all(wanted.starts for _, wanted in known):
            return gpu.total_bytes + 1
        warm = sum(wanted.need + CONTEXT_BYTES for model, wanted in known if not rests(model))
        resting = [wanted for model, wanted in known if rests(model)]
        asleep = sum(wanted.footprint.asleep for wanted in resting)
        worst = max((wanted.need + CONTEXT_BYTES - wanted.footprint.asleep for wanted in resting), default=0)
        return warm + asleep + worst

    def item(self, gpus: Sequence[Gpu], demands: Demands) -> Item:
        """Return the unit as the packing sees it; engines over several GPUs have alike ones for themselves."""
        needs = tuple(self.needs(gpu, demands) for gpu in gpus)
        whole = self.fixed is None and self.size > 1
        kinds = tuple(gpus.index(gpu) for gpu in gpus) if self.size > 1 else ()
        return Item(self.name, self.size, needs, whole=whole, fixed=self.fixed, kinds=kinds)


def has_memory(model: ModelSpec) -> bool:
    """Say whether the engine of *model* takes device memory at all; the fake one takes none."""
    return model.engine != "fake"


def rests(model: ModelSpec) -> bool:
    """Say whether *model* sleeps while others of its group are awake."""
    return model.share is not None and not model.keep_warm


def units(spec: FleetSpec, models: Sequence[ModelSpec]) -> tuple[Unit, ...]:
    """Return the units of *models*, which are those of the spec that run on GPUs, in its order.

    Raises UsageError if the members of a share group ask for different GPUs.
    """
    groups: dict[str, list[ModelSpec]] = {}
    result: list[Unit] = []
    for model in models:
        if model.share is not None:
            groups.setdefault(model.share, []).append(model)
            continue
        for replica in range(model.replicas):
            name = f"{model.name}/{replica}"
            result.append(Unit(name, ((model, replica),), model.gpus_per_replica, _fixed(model, replica)))
    for share, members in groups.items():
        _check_group(share, members)
        fixed = next((_fixed(model, 0) for model in members if isinstance(model.devices, tuple)), None)
        name = f"share group {share}"
        result.append(
            Unit(name, tuple((model, 0) for model in members), members[0].gpus_per_replica, fixed, share=share)
        )
    return tuple(result)


def _fixed(model: ModelSpec, replica: int) -> tuple[int, ...] | None:
    if not isinstance(model.devices, tuple):
        return None
    size = model.gpus_per_replica
    start = replica % (len(model.devices) // size) * size
    return model.devices[start : start + size]


def _check_group(share: str, members: Sequence[ModelSpec]) -> None:
    first = members[0]
    for other in members[1:]:
        if other.gpus_per_replica != first.gpus_per_replica:
            raise UsageError(
                f"share group {share!r}: {first.name} takes {first.gpus_per_replica} GPU(s) and {other.name} "
                f"{other.gpus_per_replica}; members take turns on the same GPUs, so give them the same number"
            )
    named = {model.name: _fixed(model, 0) for model in members if isinstance(model.devices, tuple)}
    if len(set(named.values())) > 1:
        shown = ", ".join(f"{name}: {list(gpus or ())}" for name, gpus in named.items())
        raise UsageError(f"share group {share!r} names different GPUs ({shown}); name the same ones, or use auto")
