"""`tritonfleet console`: the address of the fleet's console, with the right to manage the fleet."""

from __future__ import annotations

from typing import Annotated

import typer

from tritonfleet.cli.context import FleetArgument, StateOption, open_fleet

Open = Annotated[bool, typer.Option("--open", help="Open it in this machine's browser.")]


def console(fleet: FleetArgument = None, open_it: Open = False, state: StateOption = None) -> None:
    """Print the address of the console, for this machine's browser.

    It holds a token that may load and unload models until the fleet stops. From other machines, use an admin key.
    """
    from tritonfleet.gateway.admin import console_url

    home = open_fleet(fleet, state, must_exist=False)
    url = console_url(home.client.status().doors["openai"], home.layout.admin_token_file)
    typer.echo(url)
    if open_it and typer.launch(url) != 0:
        typer.echo("no browser was found here; open the address above yourself", err=True)
