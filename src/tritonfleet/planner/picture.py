"""A plan as a PNG picture of the GPUs: one bar for each, cut into what lies on it. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tritonfleet.errors import UsageError
from tritonfleet.planner.devices import GIB
from tritonfleet.planner.result import Part, Plan

#: Okabe and Ito's colours, which are told apart with any colour vision.
COLOURS: Mapping[Part, str] = {
    "weights": "#0072B2",
    "KV cache": "#56B4E9",
    "activations": "#E69F00",
    "graphs": "#CC79A7",
    "context": "#999999",
    "asleep": "#D9D9D9",
}
#: A piece narrower than this part of the widest bar gets no words.
_READABLE = 0.09


def draw(plan: Plan, path: Path) -> None:
    """Write the picture of *plan* to *path*.

    Raises UsageError if matplotlib is missing, the plan has no GPUs, or the file cannot be written.
    """
    if not plan.gpus:
        raise UsageError(f"there is nothing to draw: {plan.machine.name} has no GPUs")
    try:
        from matplotlib.figure import Figure
        from matplotlib.patches import Patch
    except ImportError as err:
        raise UsageError("--png needs matplotlib; run `pip install 'tritonfleet[plot]'`") from err
    widest = max(gpu.total_bytes for gpu in plan.gpus) / GIB
    figure = Figure(figsize=(11, 1.6 + 0.75 * len(plan.gpus)), layout="constrained")
    axes = figure.subplots()
    for gpu in plan.gpus:
        axes.barh(gpu.number, gpu.total_bytes / GIB, color="none", edgecolor="black", height=0.7)
        left = 0.0
        for segment in gpu.segments:
            width = segment.bytes / GIB
            axes.barh(gpu.number, width, left=left, color=COLOURS[segment.part], edgecolor="white", height=0.66)
            if width > _READABLE * widest:
                words, colour = _words(segment.owner, width), "white" if segment.part == "weights" else "black"
                axes.text(left + width / 2, gpu.number, words, ha="center", va="center", size=8, color=colour)
            left += width
    axes.set_yticks([gpu.number for gpu in plan.gpus], [f"GPU {gpu.number}\n{gpu.kind}" for gpu in plan.gpus])
    axes.invert_yaxis()
    axes.set_xlabel("GiB")
    axes.set_title(f"{plan.fleet} on {plan.machine.name}")
    used = {segment.part for gpu in plan.gpus for segment in gpu.segments}
    handles = [Patch(color=colour, label=part) for part, colour in COLOURS.items() if part in used]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(COLOURS), frameon=False)
    try:
        figure.savefig(path, format="png", dpi=150)
    except OSError as err:
        raise UsageError(f"{path} cannot be written: {err.strerror}") from err


def _words(owner: str, width: float) -> str:
    return f"{owner.removesuffix('/0')}\n{width:.1f} GiB"
