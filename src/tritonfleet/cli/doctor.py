"""`tritonfleet doctor`: what is here, what is missing, and the command that mends it."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tritonfleet.cli.context import DEFAULT_SPEC, FleetArgument, StateOption

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from tritonfleet.runtimes.doctor import Facts, Finding

_STYLES = {"ok": "green", "warn": "yellow", "fail": "red"}


def doctor(
    fleet: FleetArgument = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    state: StateOption = None,
) -> None:
    """Check whether this machine can run a fleet; exit with 1 if something must be mended first."""
    from rich.console import Console

    from tritonfleet.runtimes.doctor import examine

    findings = examine(_facts(fleet, state))
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        Console().print(_report(findings))
    if any(finding.level == "fail" for finding in findings):
        raise typer.Exit(1)


def _facts(fleet: Path | None, state: Path | None) -> Facts:
    from tritonfleet.cli.context import open_fleet
    from tritonfleet.layout import cache_folder
    from tritonfleet.runtimes.doctor import gather
    from tritonfleet.supervisor import lock

    if fleet is None and not DEFAULT_SPEC.exists():
        environ = dict(os.environ)
        return gather(None, cache=cache_folder(environ), environ=environ)
    home = open_fleet(fleet, state)
    running = lock.holder(home.layout) is not None
    return gather(home.load(), cache=home.cache, environ=home.environ, fleet_running=running)


def _report(findings: Sequence[Finding]) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        table.add_row(Text(finding.level, style=_STYLES[finding.level]), finding.check, Text(finding.detail))
        if finding.fix:
            table.add_row("", "", Text.assemble(("mend: ", "bold"), finding.fix))
    return table
