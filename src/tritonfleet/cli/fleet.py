"""`tritonfleet up`, `down`, `status` and `logs`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from tritonfleet.cli.context import FleetArgument, StateOption, open_fleet

Detach = Annotated[bool, typer.Option("--detach", "-d", help="Return once every model is ready; the fleet runs on.")]
NoInstall = Annotated[bool, typer.Option("--no-install", help="Fail when Triton or an engine is missing.")]
IgnorePlan = Annotated[bool, typer.Option("--ignore-plan", help="Start even what the plan says does not fit.")]


def up(
    fleet: FleetArgument = None,
    detach: Detach = False,
    no_install: NoInstall = False,
    ignore_plan: IgnorePlan = False,
    state: StateOption = None,
) -> None:
    """Bring a fleet up: install what is missing, start the engines, load the models."""
    from tritonfleet.cli.running import run_detached, run_foreground

    home = open_fleet(fleet, state)
    (run_detached if detach else run_foreground)(home, install=not no_install, ignore_plan=ignore_plan)


def down(
    fleet: FleetArgument = None,
    drain: Annotated[float | None, typer.Option(min=0, help="Seconds for running requests to finish.")] = None,
    state: StateOption = None,
) -> None:
    """Stop a fleet: no new requests, finish the running ones, end every process."""
    from tritonfleet.cli.running import stop_fleet

    stop_fleet(open_fleet(fleet, state, must_exist=False), drain)


def status(
    fleet: FleetArgument = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    state: StateOption = None,
) -> None:
    """Show the models of a running fleet, their devices and their load."""
    from dataclasses import asdict

    from rich.console import Console

    from tritonfleet.console import fleet_view

    found = open_fleet(fleet, state, must_exist=False).client.status()
    if as_json:
        typer.echo(json.dumps(asdict(found), indent=2))
    else:
        Console().print(fleet_view(found))


def logs(
    model: Annotated[str | None, typer.Argument(help="A model, `triton` or `supervisor`; all when absent.")] = None,
    fleet: Annotated[Path | None, typer.Option("--fleet", help="The fleet's fleet.yaml.")] = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="Last lines to show.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on showing new lines.")] = False,
    state: StateOption = None,
) -> None:
    """Show the logs of a fleet, running or not."""
    from tritonfleet.cli.logs import show_logs

    show_logs(open_fleet(fleet, state, must_exist=False), model, lines, follow, sys.stdout)
