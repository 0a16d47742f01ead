"""`tritonfleet plan`: does the fleet fit, where does each model go, and what does that cost."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tritonfleet.cli.context import FleetArgument
from tritonfleet.cli.scaling import ScalingTrace, StartMinutes

if TYPE_CHECKING:
    from tritonfleet.planner import ModelFacts, Plan
    from tritonfleet.spec import FleetSpec

Gpus = Annotated[str | None, typer.Option("--gpus", metavar="KIND:COUNT", help="Plan for these GPUs, e.g. h200:1.")]
Instance = Annotated[str | None, typer.Option("--instance", metavar="TYPE", help="Plan for an EC2 instance type.")]
Here = Annotated[bool, typer.Option("--here", help="Plan for this machine.")]
Rate = Annotated[
    float | None, typer.Option("--tokens-per-second", min=1e-9, help="Expected rate; shows $ per million tokens.")
]
Trace = Annotated[Path | None, typer.Option("--simulate", metavar="TRACE", help="Replay a trace of requests.")]
Policy = Annotated[
    list[str] | None,
    typer.Option("--policy", metavar="KEY=SECONDS,..", help="Simulate this policy too, e.g. min_residency=4."),
]
Times = Annotated[Path | None, typer.Option("--times", metavar="FILE", help="Measured times of the engines, JSON.")]
Wait = Annotated[
    float | None,
    typer.Option("--wait", min=1e-9, help="Seconds that a simulated request waits; the group's hold_seconds else."),
]
Png = Annotated[
    Path | None, typer.Option("--png", metavar="FILE", help="Draw the GPUs, or the simulation; needs matplotlib.")
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
    png: Png = None,
    trace: Trace = None,
    policy: Policy = None,
    times: Times = None,
    wait: Wait = None,
    scaling_trace: ScalingTrace = None,
    start_minutes: StartMinutes = None,
) -> None:
    """Show where each model goes and what it takes; with --simulate, what becomes of a trace of requests.

    Without a machine, the cheapest EC2 instance that holds the fleet is found; a fleet on the CPU stays here.
    """
    from tritonfleet.errors import UsageError

    if sum((gpus is not None, instance is not None, here)) > 1:
        raise UsageError("--gpus, --instance and --here each name a machine; give one of them")
    if scaling_trace is None and trace is None and times:
        raise UsageError("--times is for --simulate and --simulate-scaling; `tritonfleet trace` makes a trace")
    if trace is None and (policy or wait):
        raise UsageError("--policy and --wait are for --simulate TRACE; `tritonfleet trace` makes a trace")
    if scaling_trace is None and start_minutes:
        raise UsageError("--start-minutes is for --simulate-scaling TRACE; `tritonfleet trace` makes a trace")
    spec, facts, found = _plan(fleet, gpus, instance, here=here, weights=weights, rate=tokens_per_second)
    if scaling_trace is not None:
        from tritonfleet.cli.scaling import simulate_scaling
        from tritonfleet.simulate.scaling.fleet import Cluster
        from tritonfleet.simulate.speeds import read_times

        named = found.machine if gpus or instance or here else None
        cluster = Cluster(spec, facts, named, read_times(times) if times else {})
        simulate_scaling(cluster, scaling_trace, start_minutes, png=png, as_json=as_json)
        return
    if trace is not None:
        from tritonfleet.cli.simulate import simulate
        from tritonfleet.simulate.scenes import Fleet
        from tritonfleet.simulate.speeds import read_times

        measured = read_times(times) if times else {}
        scene = Fleet(spec, facts, found.machine, measured, wait)
        simulate(scene, found, trace, policy or (), png=png, as_json=as_json)
        return
    if png is not None:
        from tritonfleet.planner.picture import draw

        draw(found, png)
    _show(found, as_json=as_json)


def _plan(
    fleet: Path | None, gpus: str | None, instance: str | None, *, here: bool, weights: bool, rate: float | None
) -> tuple[FleetSpec, Mapping[str, ModelFacts], Plan]:
    import os
    from dataclasses import replace

    from tritonfleet import planner
    from tritonfleet.cli.context import DEFAULT_SPEC
    from tritonfleet.errors import UsageError
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
    if rate is not None and found.cost is None:
        raise UsageError(
            f"--tokens-per-second: the price of {found.machine.name} is not known; name an EC2 type with --instance"
        )
    rated = replace(found, cost=replace(found.cost, tokens_per_second=rate)) if found.cost else found
    return spec, facts, rated


def _show(found: Plan, *, as_json: bool) -> None:
    import json

    from rich.console import Console

    from tritonfleet.planner.render import plan_view, to_json

    if as_json:
        typer.echo(json.dumps(to_json(found), indent=2))
    else:
        Console().print(plan_view(found))
