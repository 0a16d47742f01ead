"""The root of the ``tritonfleet`` command: its groups, and errors printed without a traceback."""

from __future__ import annotations

import sys

import typer

from tritonfleet.errors import FleetError

app = typer.Typer(
    name="tritonfleet",
    help="Serve many LLMs from one NVIDIA Triton endpoint.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Run the command line; a FleetError becomes one message and its class's exit code."""
    try:
        app()
    except FleetError as err:
        print(f"error: {err}", file=sys.stderr)  # noqa: T201 - text for the user
        sys.exit(err.exit_code)
