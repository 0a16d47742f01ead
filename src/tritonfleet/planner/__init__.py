"""Where every model of a fleet goes, what it takes there and what that costs, before anything starts.

``plan(spec, models, machine)`` is pure. What it takes is gathered by ``gather_facts`` (each model's config.json and
the headers of its weights) and by one of the functions that describe a machine.
"""

from __future__ import annotations

from tritonfleet.planner.choose import cheapest
from tritonfleet.planner.devices import Gpu, Machine, instances, machine_of_gpus, machine_of_instance
from tritonfleet.planner.facts import ModelFacts, read_facts
from tritonfleet.planner.gather import gather_facts
from tritonfleet.planner.here import machine_here
from tritonfleet.planner.planning import plan
from tritonfleet.planner.result import Plan, ReplicaPlan

__all__ = [
    "Gpu",
    "Machine",
    "ModelFacts",
    "Plan",
    "ReplicaPlan",
    "cheapest",
    "gather_facts",
    "instances",
    "machine_here",
    "machine_of_gpus",
    "machine_of_instance",
    "plan",
    "read_facts",
]
