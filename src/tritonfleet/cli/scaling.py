"""What `tritonfleet plan --simulate-scaling` does."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tritonfleet.errors import UsageError

if TYPE_CHECKING:
    from tritonfleet.simulate.scaling.fleet import Cluster

ScalingTrace = Annotated[
    Path | None,
    typer.Option("--simulate-scaling", metavar="TRACE", help="Replay a trace against the scaling rule."),
]
StartMinutes = Annotated[
    str | None,
    typer.Option("--start-minutes", metavar="N,..", help="Times until a new replica serves; 3,5,10 when absent."),
]
DEFAULT_MINUTES = (3.0, 5.0, 10.0)


def simulate_scaling(
    cluster: Cluster, trace: Path, start_minutes: str | None, *, png: Path | None, as_json: bool
) -> None:
    """Replay *trace* by each model's rule, by the original blueprint's, and with fixed numbers of replicas."""
    from rich.console import Console

    from tritonfleet.simulate.scaling.fleet import compare_all
    from tritonfleet.simulate.scaling.picture import draw
    from tritonfleet.simulate.scaling.render import rows_view, to_json
    from tritonfleet.simulate.scenes import check_models
    from tritonfleet.simulate.trace import read_trace

    minutes = read_minutes(start_minutes)
    requests = read_trace(trace)
    check_models(requests, cluster.spec)
    found = compare_all(cluster, requests, minutes)
    if png is not None:
        draw(found.rows, png)
    if as_json:
        typer.echo(json.dumps(to_json(found.rows, found.left_out), indent=2))
    else:
        Console().print(rows_view(found.rows, found.left_out, found.notes))


def read_minutes(text: str | None) -> tuple[float, ...]:
    """Return the start times; raise UsageError for what is no list of numbers above 0."""
    if text is None:
        return DEFAULT_MINUTES
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError:
        found = ()
    if not found or not all(minutes > 0 and math.isfinite(minutes) for minutes in found):
        raise UsageError(f"--start-minutes is {text!r}; write minutes above 0 with commas between, for example 3,5,10")
    return found
