"""`tritonfleet deploy`: from fleet.yaml to the files that bring it up in a cluster."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tritonfleet.errors import UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from tritonfleet.deploy import Pool

app = typer.Typer(help="Run a fleet on Kubernetes: files for install.sh, Terraform and Helm.", no_args_is_help=True)


@app.command()
def render(
    fleet: Annotated[Path, typer.Argument(help="The fleet's fleet.yaml.", metavar="FLEET")] = Path("fleet.yaml"),
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write to.", metavar="DIR")] = Path(
        "rendered"
    ),
    instance: Annotated[
        list[str], typer.Option("--instance", metavar="POOL=TYPE", help="Instance type of a pool; may be repeated.")
    ] = [],  # noqa: B006 - Typer makes a new one for each call
    registry: Annotated[
        str, typer.Option("--registry", metavar="ADDRESS", help="Where the images of deploy/image were pushed to.")
    ] = "",
) -> None:
    """Write values.yaml, terraform.tfvars.json, fleet.yaml and the model repository; weights are not downloaded."""
    from rich.console import Console

    from tritonfleet import planner
    from tritonfleet.deploy import render as render_files
    from tritonfleet.deploy.hub import token_required
    from tritonfleet.deploy.writer import write
    from tritonfleet.layout import cache_folder
    from tritonfleet.progress import TerminalProgress
    from tritonfleet.repository import resolve_metadata
    from tritonfleet.spec import load_spec

    environ, chosen, spec = dict(os.environ), read_instances(instance), load_spec(fleet)
    base, cache = fleet.absolute().parent, cache_folder(environ)
    with TerminalProgress() as progress:
        resolved = resolve_metadata(spec, base=base, cache=cache, environ=environ, progress=progress)
    facts = planner.gather_facts(spec, base=base, cache=cache, environ=environ)
    token = token_required((model.source for model in spec.models), environ)
    rendered = render_files(spec, facts, resolved, chosen=chosen, token_required=token, registry=registry)
    changed = write(rendered, output)
    Console().print(pools_table(rendered.pools))
    for note in rendered.notes:
        typer.echo(f"note: {note}")
    for path in changed:
        typer.echo(f"wrote {path}")
    typer.echo(f"{output}: {'written' if changed else 'up to date'}; next: deploy/install.sh --rendered {output}")


def read_instances(pairs: list[str]) -> dict[str, str]:
    """Return instance types by pool from ``POOL=TYPE`` texts; raise UsageError for another form."""
    found = {}
    for pair in pairs:
        pool, separator, kind = pair.partition("=")
        if not (pool and separator and kind):
            raise UsageError(f"--instance {pair!r} is not of the form POOL=TYPE; write for example llama2=g6.2xlarge")
        found[pool] = kind
    return found


def pools_table(pools: tuple[Pool, ...]) -> Table:
    """Return the pools as a table."""
    from rich.table import Table

    table = Table(box=None)
    for name in ("POOL", "MODELS", "PODS", "RUNS ON", "GPUS", "CPU", "MEMORY", "$/H A POD"):
        table.add_column(name)
    for pool in pools:
        nodes = f"{pool.nodes} x " if pool.nodes > 1 else ""
        table.add_row(
            pool.name,
            ", ".join(model.name for model in pool.models),
            str(pool.minimum) if pool.minimum == pool.maximum else f"{pool.minimum} to {pool.maximum}",
            nodes + pool.instance_types[0],
            str(pool.gpus) if pool.gpus else "none",
            str(pool.resources.cpu),
            f"{pool.resources.memory_gib} GiB",
            f"{pool.usd_per_hour:.2f}" if pool.usd_per_hour else "",
        )
    return table
