"""`tritonfleet repository`: render, check, push and pull Triton model repositories."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tritonfleet.errors import UsageError

if TYPE_CHECKING:
    from tritonfleet.repository import Finding, Pull, Push

app = typer.Typer(help="Triton model repositories: render, check, push, pull.", no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(help="The repository's folder.", metavar="DIR")]
Store = Annotated[str, typer.Argument(help="s3://bucket/prefix, gs://... or az://...", metavar="ADDRESS")]
Delete = Annotated[bool, typer.Option("--delete", help="Also delete what the other side does not have; asks first.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before deleting.")]
DryRun = Annotated[bool, typer.Option("--dry-run", "-n", help="Show what would be done, and do nothing.")]
#: Names shown of a long list.
SHOWN = 20


@app.command()
def render(
    fleet: Annotated[Path, typer.Argument(help="The fleet's fleet.yaml.", metavar="FLEET")] = Path("fleet.yaml"),
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write to.", metavar="DIR")] = Path(
        "model_repository"
    ),
) -> None:
    """Write the fleet's models in Triton's repository layout; weights are not downloaded."""
    from tritonfleet.layout import cache_folder
    from tritonfleet.progress import TerminalProgress
    from tritonfleet.repository import render_repository, resolve_metadata, write_repository
    from tritonfleet.spec import load_spec

    environ = dict(os.environ)
    spec = load_spec(fleet)
    with TerminalProgress() as progress:
        base = fleet.absolute().parent
        resolved = resolve_metadata(spec, base=base, cache=cache_folder(environ), environ=environ, progress=progress)
    written = write_repository(render_repository(spec, resolved), output)
    for path in written.changed:
        typer.echo(f"wrote {output / path}")
    for path in written.removed:
        typer.echo(f"removed {output / path}")
    models = f"{len(spec.models)} model{'' if len(spec.models) == 1 else 's'}"
    typer.echo(f"{output}: {models}, {'up to date' if not (written.changed or written.removed) else 'written'}")


@app.command()
def check(
    folder: Folder,
    beside: Annotated[
        list[Path], typer.Option("--beside", help="Another repository of the same server.", metavar="DIR")
    ] = [],  # noqa: B006 - Typer makes a new one for each call
) -> None:
    """Say what is wrong with a repository, ours or NVIDIA's; exit 1 when a model could not be loaded."""
    from tritonfleet.repository import check_repository

    findings = check_repository(folder, beside=beside)
    if _report(findings):
        raise typer.Exit(1)


def _report(findings: list[Finding]) -> int:
    """Print findings and return the number of errors."""
    for finding in findings:
        typer.echo(str(finding))
    errors = sum(finding.severity == "error" for finding in findings)
    warnings = len(findings) - errors
    typer.echo(f"{errors} error{'' if errors == 1 else 's'}, {warnings} warning{'' if warnings == 1 else 's'}")
    return errors


@app.command()
def push(
    folder: Folder,
    address: Store,
    delete: Delete = False,
    yes: Yes = False,
    dry_run: DryRun = False,
    check_first: Annotated[bool, typer.Option("--check/--no-check", help="Refuse a broken repository.")] = True,
) -> None:
    """Copy a repository to an object store: only what changed."""
    from tritonfleet.repository import Push, check_repository
    from tritonfleet.sources.objects import ObjectStore, parse_address

    store = ObjectStore(parse_address(address), os.environ)
    findings = check_repository(folder)
    if check_first and any(finding.severity == "error" for finding in findings):
        _report(findings)
        raise UsageError(f"{folder} is not pushed: correct the errors above, or add --no-check")
    _sync(Push(folder, store), str(store.address), delete=delete, yes=yes, dry_run=dry_run)


@app.command()
def pull(address: Store, folder: Folder, delete: Delete = False, yes: Yes = False, dry_run: DryRun = False) -> None:
    """Copy a repository from an object store: only what changed."""
    from tritonfleet.repository import Pull
    from tritonfleet.sources.objects import ObjectStore, parse_address

    store = ObjectStore(parse_address(address), os.environ)
    _sync(Pull(store, folder), str(folder), delete=delete, yes=yes, dry_run=dry_run)


def _sync(sync: Push | Pull, target: str, *, delete: bool, yes: bool, dry_run: bool) -> None:
    from tritonfleet.progress import TerminalProgress, size_text

    plan = sync.plan
    _list("copy" if dry_run else "", plan.copy)
    if delete:
        _list("delete", plan.extra)
    if dry_run:
        typer.echo(f"{target}: {len(plan.copy)} to copy ({size_text(plan.size)}), {len(plan.same)} unchanged")
        return
    if delete and plan.extra and not yes:
        if not on_terminal():
            raise UsageError(f"{target}: {len(plan.extra)} would be deleted; add --yes to agree without a terminal")
        typer.confirm(f"Delete {len(plan.extra)} at {target}?", abort=True)
    with TerminalProgress() as progress:
        sync.run(progress, delete=delete)
    kept = "" if delete or not plan.extra else f", {len(plan.extra)} only there (--delete removes them)"
    gone = f", {len(plan.extra)} deleted" if delete and plan.extra else ""
    typer.echo(f"{target}: {len(plan.copy)} copied ({size_text(plan.size)}), {len(plan.same)} unchanged{gone}{kept}")


def on_terminal() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin.isatty()


def _list(verb: str, names: tuple[str, ...]) -> None:
    if not verb:
        return
    for name in names[:SHOWN]:
        typer.echo(f"{verb} {name}")
    if len(names) > SHOWN:
        typer.echo(f"{verb} {len(names) - SHOWN} more")
