"""Simulated scenes as tables for the terminal and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tritonfleet.simulate.figures import Figures, Times


def to_json(scenes: Sequence[Figures], left_out: Mapping[str, str]) -> dict[str, Any]:
    """Return the scenes as JSON values; times are seconds."""
    return {
        "scenes": [
            {
                "name": scene.name,
                **asdict(scene.all),
                "switches": scene.switches,
                "switch_p50": scene.switch_p50,
                "seconds": scene.seconds,
                "awake": scene.awake,
                "models": {model: asdict(times) for model, times in scene.by_model.items()},
            }
            for scene in scenes
        ],
        "left_out": dict(left_out),
    }


def scenes_view(scenes: Sequence[Figures], left_out: Mapping[str, str]) -> RenderableType:
    """Return a line for each scene, and the models of the first one."""
    first = scenes[0]
    parts: list[RenderableType] = [_scenes(scenes), Text("")]
    if len(first.by_model) > 1 or first.awake:
        parts += [Text(first.name, style="bold"), _models(first)]
    parts += [Text(f"{name}: {reason}", style="yellow") for name, reason in left_out.items()]
    return Group(*parts)


def _scenes(scenes: Sequence[Figures]) -> Table:
    table = _table("SCENE", "SERVED", "REFUSED", "TTFT P50", "P95", "SWITCHES", "SWITCH P50")
    for scene in scenes:
        table.add_row(scene.name, *_times(scene.all), str(scene.switches), _seconds(scene.switch_p50))
    return table


def _models(scene: Figures) -> Table:
    table = _table("MODEL", "SERVED", "REFUSED", "TTFT P50", "P95", "AWAKE")
    for model, times in scene.by_model.items():
        awake = f"{scene.awake[model]:.0%}" if model in scene.awake else "-"
        table.add_row(model, *_times(times), awake)
    return table


def _times(times: Times) -> tuple[str, ...]:
    return f"{times.served:,}", f"{times.refused:,}", _seconds(times.ttft_p50), _seconds(times.ttft_p95)


def _seconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s" if value < 10 else f"{value:.1f} s"


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, name in enumerate(columns):
        table.add_column(name, justify="right" if index else "left", no_wrap=bool(index), overflow="fold")
    return table
