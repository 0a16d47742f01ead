"""The root of the ``tritonfleet`` command: its groups, and errors printed without a traceback."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import tritonfleet
from tritonfleet.cli import (
    bench,
    client,
    console,
    deploy,
    doctor,
    fleet,
    key,
    observe,
    plan,
    repository,
    runtime,
    simulate,
    spec,
)
from tritonfleet.errors import FleetError

app = typer.Typer(
    name="tritonfleet",
    help="Serve many LLMs from one NVIDIA Triton endpoint.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command()(fleet.up)
app.command()(fleet.down)
app.command()(fleet.status)
app.command()(fleet.logs)
app.command()(client.client)
app.command()(bench.bench)
app.command()(console.console)
app.command()(plan.plan)
app.command()(simulate.trace)
app.command()(doctor.doctor)
app.add_typer(spec.app, name="spec")
app.add_typer(runtime.app, name="runtime")
app.add_typer(repository.app, name="repository")
app.add_typer(key.app, name="key")
app.add_typer(deploy.app, name="deploy")
app.add_typer(observe.app, name="observe")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tritonfleet {tritonfleet.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Serve many LLMs from one NVIDIA Triton endpoint."""


def main() -> None:
    """Run the command line; a FleetError becomes one message and its class's exit code."""
    try:
        app()
    except FleetError as err:
        print(f"error: {err}", file=sys.stderr)  # noqa: T201 - text for the user
        sys.exit(err.exit_code)
