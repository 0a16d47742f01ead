"""`tritonfleet trace`, and what `tritonfleet plan --simulate` does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tritonfleet.cli.context import FleetArgument

if TYPE_CHECKING:
    from tritonfleet.planner import Plan
    from tritonfleet.simulate.figures import Figures
    from tritonfleet.simulate.scenes import Fleet


def trace(
    fleet: FleetArgument = None,
    seconds: Annotated[float, typer.Option("--seconds", help="Length of the trace.")] = 120.0,
    rate: Annotated[float, typer.Option("--rate", help="Requests per second, all models together.")] = 2.0,
    shift: Annotated[float, typer.Option("--shift", help="Seconds until the next model is the favourite.")] = 30.0,
    favourite: Annotated[float, typer.Option("--favourite", help="Part of the requests that it gets.")] = 0.7,
    prompt_tokens: Annotated[int, typer.Option("--prompt-tokens", help="Mean length of a prompt.")] = 256,
    output_tokens: Annotated[int, typer.Option("--output-tokens", help="Mean length of an answer.")] = 64,
    seed: Annotated[int, typer.Option("--seed", help="The same seed makes the same trace.")] = 0,
) -> None:
    """Print a request trace: Poisson arrivals for the fleet's models, with a favourite that moves on."""
    from tritonfleet.cli.context import DEFAULT_SPEC
    from tritonfleet.simulate.trace import Shape, generate, trace_text
    from tritonfleet.spec import load_spec

    names = tuple(model.name for model in load_spec(fleet or DEFAULT_SPEC).models)
    shape = Shape(names, seconds, rate, shift, favourite, prompt_tokens, output_tokens)
    typer.echo(trace_text(generate(shape, seed)), nl=False)


def simulate(
    fleet: Fleet, plan: Plan, trace: Path, policies: Sequence[str], *, png: Path | None, as_json: bool
) -> None:
    """Replay *trace* through the fleet as planned, with each of *policies*, and through what one would do without."""
    from rich.console import Console

    from tritonfleet.simulate.picture import draw_timeline
    from tritonfleet.simulate.render import scenes_view, to_json

    scenes, left_out = _replay_all(fleet, plan, trace, policies)
    if png is not None:
        draw_timeline(scenes[0], png)
    if as_json:
        typer.echo(json.dumps(to_json(scenes, left_out), indent=2))
    else:
        Console().print(scenes_view(scenes, left_out))


def _replay_all(fleet: Fleet, plan: Plan, path: Path, policies: Sequence[str]) -> tuple[list[Figures], dict[str, str]]:
    from tritonfleet.errors import UsageError
    from tritonfleet.simulate import scenes as make
    from tritonfleet.simulate.figures import figures
    from tritonfleet.simulate.trace import read_trace
    from tritonfleet.simulate.world import replay
    from tritonfleet.supervisor.seats import policy_of

    trace = read_trace(path)
    make.check_models(trace, fleet.spec)
    make.check_times(fleet.times, fleet.spec)
    groups = [group.name for group in plan.groups]
    if policies and not groups:
        raise UsageError("--policy is for models that take turns, and no model of the fleet names a share group")
    scenes = {"as planned": make.planned_scene(fleet, plan, {})}
    for text in policies:
        others = {name: make.parse_policy(text, policy_of(fleet.spec.sharing(name))) for name in groups}
        scenes[text] = make.planned_scene(fleet, plan, others)
    left_out: dict[str, str] = {}
    if groups:
        scenes["restart on switch"] = make.restarting_scene(fleet, plan)
        squeezed = make.squeezed_scene(fleet)
        if isinstance(squeezed, str):
            left_out["all in memory at once"] = squeezed
        else:
            scenes["all in memory at once"] = squeezed
    return [figures(name, replay(trace, scene)) for name, scene in scenes.items()], left_out
