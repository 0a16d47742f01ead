"""`tritonfleet spec`: the JSON schema of fleet.yaml, and a check of one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="fleet.yaml: its schema, and whether one is right.", no_args_is_help=True)


@app.command()
def schema() -> None:
    """Print the JSON schema of fleet.yaml, for editors."""
    from tritonfleet.spec import schema_text

    typer.echo(schema_text(), nl=False)


@app.command()
def check(
    fleet: Annotated[Path, typer.Argument(help="The fleet's fleet.yaml.", metavar="FLEET")] = Path("fleet.yaml"),
) -> None:
    """Say whether a fleet.yaml is right; sources on this machine are looked at, remote ones are not asked."""
    from tritonfleet.layout import cache_folder
    from tritonfleet.sources import resolve_source
    from tritonfleet.spec import load_spec

    spec = load_spec(fleet)
    environ = dict(os.environ)
    local = 0
    for model in spec.models:
        for want, source in (("model", model.source), *(("adapter", text) for text in model.lora.values())):
            if "://" not in source or source.startswith("demo://"):
                resolve_source(
                    source,
                    base=fleet.absolute().parent,
                    cache=cache_folder(environ),
                    environ=environ,
                    want="adapter" if want == "adapter" else "model",
                )
                local += 1
    remote = sum(1 + len(model.lora) for model in spec.models) - local
    names = ", ".join(model.name for model in spec.models) or "none of its own"
    typer.echo(f"{fleet}: fleet {spec.name!r} is right; models: {names}")
    if remote:
        typer.echo(f"{remote} source{' is' if remote == 1 else 's are'} remote and not asked")
