"""Which GPUs and cores each engine gets: a pure function of the spec and the machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tritonfleet.errors import CapacityError
from tritonfleet.planner.planning import CPU_ENGINES
from tritonfleet.spec.models import FleetSpec, ModelSpec


@dataclass(frozen=True)
class Place:
    """Devices of one replica."""

    model: str
    replica: int
    gpus: tuple[int, ...]
    """GPU numbers; empty means the CPU."""
    cores: tuple[int, ...]
    """Cores for an engine on the CPU; empty for one on GPUs."""

    def __str__(self) -> str:
        return f"gpu {','.join(map(str, self.gpus))}" if self.gpus else "cpu"


def place(spec: FleetSpec, *, gpus: int, cores: Sequence[int]) -> tuple[Place, ...]:
    """Give every replica of the spec its devices, in the order of the spec.

    ``devices: auto`` takes the lowest GPUs that no other model has taken; without any GPU on the machine it takes
    the CPU. The cores are dealt out evenly to the engines on the CPU.

    Raises CapacityError if a named GPU does not exist, or if there are too few.
    """
    named = {gpu for model in spec.models if isinstance(model.devices, tuple) for gpu in model.devices}
    free = [gpu for gpu in range(gpus) if gpu not in named]
    chosen: list[tuple[ModelSpec, int, tuple[int, ...]]] = []
    for model in spec.models:
        size = model.gpus_per_replica
        for replica in range(model.replicas):
            chosen.append((model, replica, _devices(model, replica, size, gpus, free)))
    on_cpu = [entry for entry in chosen if not entry[2]]
    shares = deal(cores, len(on_cpu))
    places = []
    for model, replica, devices in chosen:
        share = () if devices else shares.pop(0)
        places.append(Place(model.name, replica, devices, share))
    return tuple(places)


def _devices(model: ModelSpec, replica: int, size: int, gpus: int, free: list[int]) -> tuple[int, ...]:
    if isinstance(model.devices, tuple):
        missing = [gpu for gpu in model.devices if gpu >= gpus]
        if missing:
            have = f"GPUs 0 to {gpus - 1}" if gpus else "no GPU"
            raise CapacityError(f"{model.name}: devices names GPU {missing[0]}, but this machine has {have}")
        groups = len(model.devices) // size
        start = (replica % groups) * size
        return model.devices[start : start + size]
    if model.devices == "cpu" or (gpus == 0 and size == 1):
        if model.engine not in CPU_ENGINES:
            raise CapacityError(f"{model.name}: the engine {model.engine} needs a GPU, and this machine has none")
        return ()
    if len(free) < size:
        raise CapacityError(
            f"{model.name} replica {replica}: needs {size} free GPU(s), but {len(free)} of {gpus} are left; "
            f"name devices that models may share, use fewer replicas, or a larger machine"
        )
    taken = tuple(free[:size])
    del free[:size]
    return taken


def deal(cores: Sequence[int], hands: int) -> list[tuple[int, ...]]:
    """Split *cores* into *hands* even, contiguous shares of at least one core each (shared when too few)."""
    if hands == 0:
        return []
    if len(cores) < hands:
        return [(cores[hand % len(cores)],) for hand in range(hands)] if cores else [()] * hands
    size, extra = divmod(len(cores), hands)
    shares, start = [], 0
    for hand in range(hands):
        end = start + size + (1 if hand < extra else 0)
        shares.append(tuple(cores[start:end]))
        start = end
    return shares
