"""`tritonfleet observe`: dashboards, alerts and Prometheus's configuration for a fleet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tritonfleet.cli.context import DEFAULT_SPEC

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tritonfleet.observe import Goals
    from tritonfleet.spec import FleetSpec

app = typer.Typer(help="Dashboards, alerts and scrape configuration for Grafana and Prometheus.", no_args_is_help=True)

Output = Annotated[Path, typer.Option("--output", "-o", help="Folder to write to.", metavar="DIR")]
Fleet = Annotated[
    Path | None,
    typer.Argument(help="The fleet's fleet.yaml; ./fleet.yaml when absent, every fleet where that is absent too."),
]


@app.command()
def dashboards(
    output: Output = Path("dashboards"),
    price: Annotated[
        float, typer.Option("--price-per-hour", min=0, metavar="$", help="Price of one machine, for the cost panel.")
    ] = 1.0,
) -> None:
    """Write the Grafana dashboards; they serve every fleet."""
    from tritonfleet.observe import dashboard_files, write_files

    _tell(write_files(dashboard_files(price), output))


@app.command()
def rules(
    fleet: Fleet = None,
    output: Output = Path("rules"),
    goal: Annotated[
        list[str] | None,
        typer.Option("--ttft-goal", metavar="[MODEL=]SECONDS", help="Goal of a model, or of all others; may repeat."),
    ] = None,
    objective: Annotated[
        float, typer.Option("--objective", metavar="SHARE", help="Share of requests that must keep the goal.")
    ] = 0.99,
    runbook: Annotated[
        str | None,
        typer.Option(
            "--runbook",
            metavar="URL",
            help="What alerts link to; observability.runbook_url, or the page that the console serves, when absent.",
        ),
    ] = None,
) -> None:
    """Write Prometheus's recording and alerting rules."""
    from tritonfleet.observe import RUNBOOK, rule_files, runbook_of, write_files

    spec = _spec(fleet)
    idle = sorted({spec.pool_of(m) for m in spec.models if m.scaling and not m.scaling.min_replicas}) if spec else []
    link = runbook or (runbook_of(spec) if spec else RUNBOOK)
    paths = write_files(rule_files(_goals(spec, goal or [], objective), idle, link), output)
    _tell(paths, f" for fleet {spec.name!r}" if spec else " for every fleet")


@app.command("scrape-config")
def scrape_config(
    fleet: Fleet = None,
    output: Output = Path(),
    target: Annotated[
        list[str] | None,
        typer.Option("--target", metavar="HOST:PORT", help="OpenAI door as Prometheus reaches it; may repeat."),
    ] = None,
    interval: Annotated[int, typer.Option("--interval", min=1, max=60, help="Seconds between two scrapes.")] = 15,
) -> None:
    """Write a prometheus.yml that scrapes the fleet and reads the rules in rules/ beside it."""
    from tritonfleet import observe
    from tritonfleet.spec import load_spec

    targets = target or [observe.target_of(load_spec(fleet or DEFAULT_SPEC))]
    _tell(observe.write_files(observe.scrape_config(targets, interval), output), f" for {', '.join(targets)}")


def _spec(fleet: Path | None) -> FleetSpec | None:
    from tritonfleet.spec import load_spec

    return load_spec(fleet or DEFAULT_SPEC) if fleet or DEFAULT_SPEC.exists() else None


def _goals(spec: FleetSpec | None, texts: Sequence[str], objective: float) -> Goals:
    """Put the goals together: those of the command line win over the spec's."""
    from tritonfleet.observe import Goals, TtftGoal, goals_of

    default, named = TtftGoal(objective=objective), dict[str, TtftGoal]()
    for text in texts:
        model, _, seconds = text.rpartition("=")
        parsed = TtftGoal(_seconds(text, seconds), objective)
        if model:
            named[_known(model, spec)] = parsed
        else:
            default = parsed
    found = goals_of(spec, default) if spec else Goals(default)
    return Goals(default, {**found.by_model, **named})


def _seconds(text: str, seconds: str) -> float:
    from tritonfleet.errors import UsageError

    try:
        return float(seconds)
    except ValueError:
        raise UsageError(f"--ttft-goal {text!r}: write seconds, or model=seconds, e.g. llama2=2.5") from None


def _known(model: str, spec: FleetSpec | None) -> str:
    import difflib

    from tritonfleet.errors import UsageError

    names = [known.name for known in spec.models] if spec else [model]
    if model in names:
        return model
    near = difflib.get_close_matches(model, names, 1)
    hint = f"; did you mean {near[0]!r}?" if near else f"; it has {', '.join(names) or 'none of its own'}"
    raise UsageError(f"--ttft-goal: the fleet has no model {model!r}{hint}")


def _tell(paths: Sequence[Path], about: str = "") -> None:
    for path in paths:
        typer.echo(f"wrote {path}{about}")
