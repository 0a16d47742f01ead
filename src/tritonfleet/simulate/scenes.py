"""From a plan to scenes: the fleet as it is, and the two ways to do without an arbiter. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace

from tritonfleet.errors import CapacityError, UsageError
from tritonfleet.planner.devices import Machine
from tritonfleet.planner.facts import ModelFacts
from tritonfleet.planner.planning import plan
from tritonfleet.planner.result import Plan, ReplicaPlan
from tritonfleet.planner.timing import STOP_SECONDS
from tritonfleet.simulate.speeds import Times, estimate, fake_times
from tritonfleet.simulate.trace import Request, models_of
from tritonfleet.simulate.world import Scene, Seat
from tritonfleet.spec.models import FleetSpec, ModelSpec
from tritonfleet.supervisor.seats import Policy, policy_of

#: One model has the device, and the next request for another one takes it: what a swapping proxy does.
EAGER = Policy(min_residency_seconds=0.0, residency_per_switch=0.0, idle_seconds=0.0)


@dataclass(frozen=True)
class Fleet:
    """What scenes are made of."""

    spec: FleetSpec
    facts: Mapping[str, ModelFacts]
    machine: Machine
    times: Mapping[str, Times]
    """Measured ones by model; ``*`` stands for the others."""
    wait_seconds: float | None = None
    """Longest wait of a request; None: as the spec says for each group."""


def planned_scene(fleet: Fleet, found: Plan, policies: Mapping[str, Policy]) -> Scene:
    """Return the fleet as *found* places it, its groups with *policies*, or their own where none is named."""
    own = {group.name: policy_of(fleet.spec.sharing(group.name)) for group in found.groups}
    return _scene(fleet, found, {**own, **policies}, restart=False)


def restarting_scene(fleet: Fleet, found: Plan) -> Scene:
    """Return the same fleet, whose engines are stopped and started instead of put to sleep."""
    return _scene(fleet, found, {group.name: EAGER for group in found.groups}, restart=True)


def squeezed_scene(fleet: Fleet) -> Scene | str:
    """Return the fleet without share groups, all models in memory at the same time; or why that does not fit."""
    models = tuple(model.model_copy(update={"share": None, "keep_warm": False}) for model in fleet.spec.models)
    try:
        found = plan(fleet.spec.model_copy(update={"models": models}), fleet.facts, fleet.machine)
    except CapacityError as err:
        return str(err).splitlines()[0].rstrip(":")
    return _scene(fleet, found, {}, restart=False)


def check_models(trace: Sequence[Request], spec: FleetSpec) -> None:
    """Raise UsageError, with the near match, if *trace* asks for a model that *spec* does not have."""
    _check_names(models_of(trace), spec, "the trace asks for")


def check_times(times: Mapping[str, Times], spec: FleetSpec) -> None:
    """Raise UsageError, with the near match, if *times* are of a model that *spec* does not have."""
    _check_names((name for name in times if name != "*"), spec, "--times is of", "; * stands for all")


def _check_names(asked: Iterable[str], spec: FleetSpec, what: str, more: str = "") -> None:
    names = [model.name for model in spec.models]
    for name in asked:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise UsageError(f"{what} {name!r}, and the fleet has {', '.join(names)}{hint}{more}")


def parse_policy(text: str, base: Policy) -> Policy:
    """Return *base* with what *text* changes, for example ``min_residency=4,max_wait=20``; the unit is seconds.

    Raises UsageError naming the nearest key, or the value that is no number.
    """
    known = {field.name.removesuffix("_seconds"): field.name for field in fields(Policy)}
    changes: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        key, separator, value = part.partition("=")
        name = known.get(key.strip().removesuffix("_seconds"))
        if name is None or not separator:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"; did you mean {near[0]}?" if near and near[0] != key else ""
            raise UsageError(f"--policy {part!r} is not of the form KEY=SECONDS{hint}; keys: {', '.join(known)}")
        try:
            changes[name] = float(value)
        except ValueError:
            raise UsageError(f"--policy {part!r}: {value!r} is no number") from None
        if not changes[name] >= 0:
            raise UsageError(f"--policy {part!r}: write 0 or more")
    return replace(base, **changes)


def _scene(fleet: Fleet, found: Plan, policies: Mapping[str, Policy], *, restart: bool) -> Scene:
    needs = {member.model: member.need_bytes for group in found.groups for member in group.members}
    replicas = {replica.model: replica for replica in found.replicas}
    seats = [_seat(fleet, model, replicas[model.name], needs, restart=restart) for model in fleet.spec.models]
    capacities = {group.name: group.capacity_bytes for group in found.groups}
    waits = {name: fleet.wait_seconds or fleet.spec.sharing(name).hold_seconds for name in capacities}
    return Scene(tuple(seats), capacities, dict(policies), waits)


def _seat(fleet: Fleet, model: ModelSpec, replica: ReplicaPlan, needs: Mapping[str, int], *, restart: bool) -> Seat:
    measured = fleet.times.get(model.name) or fleet.times.get("*")
    if measured is None and model.engine == "fake":
        measured = fake_times(model)
    speed = measured.speed if measured else estimate(replica, model, fleet.facts.get(model.name), fleet.machine)
    if measured and replica.kv_tokens:
        speed = replace(speed, kv_tokens=min(speed.kv_tokens, replica.kv_tokens))
    device = f"gpu {','.join(map(str, replica.gpus))}" if replica.gpus else f"cpu {model.name}"
    plain = Seat(model.name, speed, device, replicas=model.replicas)
    if replica.share is None:
        return plain
    down, up = (replica.sleep.sleep_seconds, replica.sleep.wake_seconds) if replica.sleep else (0.0, 0.0)
    up += speed.tpot(1)  # one token is generated before it is let at the requests
    first = replica.sleep.first_sleep_seconds if replica.sleep else None
    cold = replica.cold_start_seconds
    if measured:
        first = measured.first_sleep_seconds
        down = measured.sleep_seconds if measured.sleep_seconds is not None else down
        up = measured.wake_seconds if measured.wake_seconds is not None else up
        cold = measured.cold_start_seconds if measured.cold_start_seconds is not None else cold
    stops = restart or (replica.sleep is not None and replica.sleep.level == "stop")
    return replace(
        plain,
        group=replica.share,
        need_bytes=needs[model.name],
        priority=model.priority,
        keep_warm=model.keep_warm,
        sleep_seconds=STOP_SECONDS if stops else down,
        first_sleep_seconds=None if stops else first,
        wake_seconds=cold if stops else up,
    )
