"""`tritonfleet key`: make, list and revoke API keys of the OpenAI door."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from tritonfleet.cli.context import StateOption, open_fleet

app = typer.Typer(help="API keys of the OpenAI door.", no_args_is_help=True)

FleetOption = Annotated[Path | None, typer.Option("--fleet", help="The fleet's fleet.yaml; ./fleet.yaml when absent.")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What the key is called in lists, for example the team that gets it.")],
    model: Annotated[
        list[str] | None, typer.Option("--model", help="Model or adapter it may use; all when absent.")
    ] = None,
    requests_per_minute: Annotated[int | None, typer.Option(min=1, help="Most requests in a minute.")] = None,
    tokens_per_minute: Annotated[
        int | None, typer.Option(min=1, help="Most tokens, prompt and answer, in a minute.")
    ] = None,
    priority: Annotated[int, typer.Option(help="The higher, the earlier its requests go when a model is busy.")] = 0,
    admin: Annotated[
        bool, typer.Option("--admin", help="It may load and unload models and read logs in the console.")
    ] = False,
    fleet: FleetOption = None,
    state: StateOption = None,
) -> None:
    """Make a key and print it, once; from the first key on, the door asks for one."""
    from tritonfleet.cli.keys import check_models
    from tritonfleet.gateway.keys import create_key

    home = open_fleet(fleet, state, must_exist=False)
    models = tuple(model or ())
    check_models(home, models)
    secret, key = create_key(
        home.layout.keys_file,
        name,
        models=models,
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
        priority=priority,
        admin=admin,
    )
    typer.echo(secret)
    typer.echo(f"key {key.id} ({name}) is shown only now; a running door knows it within a second", err=True)


@app.command("list")
def list_keys(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    fleet: FleetOption = None,
    state: StateOption = None,
) -> None:
    """Show all keys and what they may, without the keys themselves."""
    from rich.console import Console

    from tritonfleet.cli.keys import table
    from tritonfleet.gateway.keys import as_row, read_keys

    keys = read_keys(open_fleet(fleet, state, must_exist=False).layout.keys_file)
    if as_json:
        typer.echo(json.dumps([as_row(key) for key in keys], indent=2))
    else:
        Console().print(table(keys) if keys else "no API keys; make one with `tritonfleet key create NAME`")


@app.command()
def revoke(
    name: Annotated[str, typer.Argument(help="Name or id of the key.")],
    fleet: FleetOption = None,
    state: StateOption = None,
) -> None:
    """Make a key worthless, within a second; requests that run already go on."""
    from tritonfleet.gateway.keys import revoke_key

    key = revoke_key(open_fleet(fleet, state, must_exist=False).layout.keys_file, name)
    typer.echo(f"revoked {key.id} ({key.name})")
