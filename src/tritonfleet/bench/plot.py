"""A bench's outcome as a PNG picture; matplotlib is imported only here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tritonfleet.bench.outcome import Outcome
from tritonfleet.errors import UsageError


def check_plot(path: Path) -> None:
    """Return if a plot can be written to *path*; raise UsageError with the next step otherwise."""
    _pyplot()
    if path.suffix.lower() != ".png":
        raise UsageError(f"--plot {path}: the picture is a PNG; let the name end in .png")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"--plot {path}: the folder {path.absolute().parent} does not exist")


def write_plot(outcomes: Sequence[Outcome], title: str, path: Path) -> None:
    """Draw tokens/s and TTFT against the load; raise UsageError if the file cannot be written."""
    plt = _pyplot()
    drawn = [(outcome, summary) for outcome in outcomes if (summary := outcome.summary) is not None]
    drawn.sort(key=lambda pair: _position(pair[0]))
    loads = [_position(outcome) for outcome, _ in drawn]
    figure, (speed, first) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    speed.plot(loads, [summary.tokens_per_second for _, summary in drawn], marker="o")
    for name in ("p50", "p95", "p99"):
        first.plot(loads, [getattr(summary, f"ttft_{name}") * 1e3 for _, summary in drawn], marker="o", label=name)
    closed = not drawn or drawn[0][0].level.streams is not None
    for axes, heading, unit in ((speed, "Throughput", "tokens/s"), (first, "Time to first token", "ms")):
        axes.set(title=heading, xlabel="streams" if closed else "requests/s", ylabel=unit)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    if drawn:
        first.legend()
    figure.suptitle(title)
    try:
        figure.savefig(path, dpi=110)
    except OSError as err:
        raise UsageError(f"--plot {path}: {err.strerror or err}") from err
    finally:
        plt.close(figure)


def _position(outcome: Outcome) -> float:
    return outcome.level.streams if outcome.level.streams is not None else outcome.level.rate or 0.0


def _pyplot() -> Any:
    try:
        import matplotlib as mpl
    except ImportError as err:
        raise UsageError("--plot needs matplotlib; run: pip install 'tritonfleet[plot]'") from err
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    return plt
