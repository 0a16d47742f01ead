"""The proof as a picture: load, replicas and TTFT over the same time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from autoscaling.controller import Look
from autoscaling.load import Sample

#: Okabe and Ito's colours, which are told apart with any colour vision.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#999999"


def draw(
    looks: Sequence[Look],
    samples: Sequence[Sample],
    *,
    step: tuple[float, float],
    ttft_goal: float,
    title: str,
    path: Path,
) -> None:
    """Write the picture to *path*."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 7), layout="constrained")
    load, replicas, ttft = figure.subplots(3, 1, sharex=True)
    at = [look.at for look in looks]
    load.step(at, [look.values["in-flight"] for look in looks], where="post", color=BLUE)
    load.set_ylabel("requests in flight\n(the rule's query)")
    replicas.step(at, [look.replicas for look in looks], where="post", color=ORANGE, label="asked for")
    replicas.step(at, [look.serving for look in looks], where="post", color=GREEN, label="serving")
    replicas.set_ylabel("replicas")
    replicas.set_ylim(0, max(look.replicas for look in looks) + 0.6)
    replicas.legend(frameon=False)
    for door, colour in (("kserve-grpc", BLUE), ("openai-sse", ORANGE)):
        found = [(sample.sent_at, sample.ttft_seconds) for sample in samples if sample.door == door]
        ttft.scatter(*zip(*found, strict=True), s=8, color=colour, label=door)
    ttft.axhline(ttft_goal, color=GREY, linestyle="--", label="goal")
    ttft.set_ylabel("TTFT, s")
    ttft.legend(frameon=False)
    ttft.set_xlabel("seconds")
    for axes in (load, replicas, ttft):
        axes.axvspan(*step, color=GREY, alpha=0.15)
    figure.suptitle(title)
    figure.savefig(path, dpi=130)
