"""`tritonfleet plan`: does the fleet fit, where does each model go, and what does that cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tritonfleet.cli.context import FleetArgument

if TYPE_CHECKING:
    from tritonfleet.planner import Plan

Gpus = Annotated[str | None, typer.Option("--gpus", metavar="KIND:COUNT", help="Plan for these GPUs, e.g. h200:1.")]
Instance = Annotated[str | None, typer.Option("--instance", metavar="TYPE", help="Plan for an EC2 instance type.")]
Here = Annotated[bool, typer.Option("--here", help="Plan for this machine.")]
Rate = Annotated[
    float | None, typer.Option("--tokens-per-second", min=1e-9, help="Expected rate; shows $ per million tokens.")
]
Weights = Annotated[bool, typer.Option("--weights", help="Fetch remote models whole, to size them by their files.")]


def plan(
    fleet: FleetArgument = None,
    gpus: Gpus = None,
    instance: Instance = None,
    here: Here = False,
    tokens_per_second: Rate = None,
    weights: Weights = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    png: Annotated[Path | None, typer.Option("--png", metavar="FILE", help="Draw the GPUs; needs matplotlib.")] = None,
) -> None:
    """Show where each model goes and what it takes.

    Without a machine, the cheapest EC2 instance that holds the fleet is found; a fleet on the CPU stays here.
    """
    from tritonfleet.errors import UsageError

    if sum((gpus is not None, instance is not None, here)) > 1:
        raise UsageError("--gpus, --instance and --here each name a machine; give one of them")
    found = _plan(fleet, gpus, instance, here=here, weights=weights, rate=tokens_per_second)
    if png is not None:
        from tritonfleet.planner.picture import draw

        draw(found, png)
    _show(found, as_json=as_json)


def _plan(
    fleet: Path | None, gpus: str | None, instance: str | None, *, here: bool, weights: bool, rate: float | None
) -> Plan:
    import os
    from dataclasses import replace

    from tritonfleet import planner
    from tritonfleet.cli.context import DEFAULT_SPEC
    from tritonfleet.layout import cache_folder
    from tritonfleet.spec import load_spec

    path, environ = fleet or DEFAULT_SPEC, dict(os.environ)
    spec = load_spec(path)
    machine: planner.Machine | None = None
    if gpus is not None:
        machine = planner.machine_of_gpus(gpus)
    elif instance is not None:
        machine = planner.machine_of_instance(instance)
    elif here or all(model.devices == "cpu" for model in spec.models):
        machine = planner.machine_here()
    facts = planner.gather_facts(
        spec, base=path.absolute().parent, cache=cache_folder(environ), environ=environ, weights=weights
    )
    found = planner.plan(spec, facts, machine) if machine else planner.cheapest(spec, facts, planner.instances())
    return replace(found, cost=replace(found.cost, tokens_per_second=rate)) if found.cost else found


def _show(found: Plan, *, as_json: bool) -> None:
    import json

    from rich.console import Console

    from tritonfleet.planner.render import plan_view, to_json

    if as_json:
        typer.echo(json.dumps(to_json(found), indent=2))
    else:
        Console().print(plan_view(found))
