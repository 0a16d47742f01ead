"""A simulated trace as a PNG timeline: who had the device when, and how long each request waited. Needs matplotlib."""

from __future__ import annotations

from pathlib import Path

from tritonfleet.errors import UsageError
from tritonfleet.simulate.figures import Figures

_PHASES = {"awake": "#0072B2", "waking": "#E69F00", "sleeping": "#CC79A7"}


def draw_timeline(scene: Figures, path: Path) -> None:
    """Write the timeline of *scene* to *path*; raise UsageError without matplotlib, or if it cannot be written."""
    try:
        from matplotlib.figure import Figure
        from matplotlib.patches import Patch
    except ImportError as err:
        raise UsageError("--png needs matplotlib; run `pip install 'tritonfleet[plot]'`") from err
    models = list(scene.by_model)
    figure = Figure(figsize=(12, 3.6 + 0.45 * len(models)), layout="constrained")
    waits, lanes = figure.subplots(2, 1, sharex=True, height_ratios=[3, max(1.0, 0.5 * len(models))])
    for model in models:
        mine = [each for each in scene.replay.outcomes if each.request.model == model]
        good = [(each.request.arrival_seconds, each.ttft_seconds) for each in mine if each.ttft_seconds is not None]
        if good:
            waits.scatter(*zip(*good, strict=True), s=9, label=model)
    for each in scene.replay.outcomes:
        if each.refused:
            waits.axvline(each.request.arrival_seconds, color="red", alpha=0.25, linewidth=0.8)
    for span in scene.replay.spans:
        if span.model in models:
            lanes.barh(models.index(span.model), span.end - span.start, left=span.start, color=_PHASES[span.phase])
    waits.set(ylabel="time to first token, s", title=scene.name, yscale="log")
    if len(models) <= 12:
        waits.legend(frameon=False, ncols=6, fontsize=8)
    lanes.set_yticks(range(len(models)), models)
    lanes.invert_yaxis()
    lanes.set_xlabel("seconds")
    handles = [Patch(color=colour, label=phase) for phase, colour in _PHASES.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    try:
        figure.savefig(path, format="png", dpi=150)
    except OSError as err:
        raise UsageError(f"{path} cannot be written: {err.strerror}") from err
