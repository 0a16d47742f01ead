"""The cheapest EC2 instance type on which a fleet fits. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from tritonfleet.errors import CapacityError
from tritonfleet.planner.devices import Machine
from tritonfleet.planner.facts import ModelFacts
from tritonfleet.planner.planning import plan
from tritonfleet.planner.result import Plan
from tritonfleet.spec.models import FleetSpec


def cheapest(spec: FleetSpec, models: Mapping[str, ModelFacts], machines: Sequence[Machine]) -> Plan:
    """Return the plan on the first of *machines* (the cheapest first) that holds the fleet, with why others do not.

    Raises CapacityError with the largest machine's reason if none does.
    """
    rejected: list[tuple[str, str]] = []
    for machine in machines:
        try:
            found = plan(spec, models, machine)
        except CapacityError as err:
            rejected.append((machine.name, str(err)))
        else:
            return replace(found, rejected=tuple(rejected))
    largest = max(machines, key=lambda machine: sum(gpu.total_bytes for gpu in machine.gpus))
    reason = next(text for name, text in rejected if name == largest.name)
    raise CapacityError(f"no instance type of {len(machines)} holds the fleet; on {largest.name}: {reason}")
