"""Replayed rules as a PNG: requests in flight and replicas over the time of the trace. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tritonfleet.errors import UsageError
from tritonfleet.simulate.scaling.comparison import Row

#: Okabe and Ito's colours, which are told apart with any colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def draw(rows: Sequence[Row], path: Path) -> None:
    """Write the picture of the rules that scale, one pair of charts for each model, to *path*.

    Raises UsageError if matplotlib is missing or the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as err:
        raise UsageError("--png needs matplotlib; run `pip install 'tritonfleet[plot]'`") from err
    models = list(dict.fromkeys(row.model for row in rows))
    figure = Figure(figsize=(11, 5 * len(models)), layout="constrained")
    charts = figure.subplots(2 * len(models), 1, squeeze=False)[:, 0]
    for number, model in enumerate(models):
        load, replicas = charts[2 * number : 2 * number + 2]
        scaled = [row for row in rows if row.model == model and row.start_minutes is not None]
        for place, row in enumerate(scaled):
            minutes = [look.at / 60 for look in row.run.looks]
            style = {
                "color": COLOURS[place // 2 % len(COLOURS)],
                "linestyle": "--" if row.rule == "blueprint" else "-",
                "label": f"{row.rule}, start {row.start_minutes:g} min",
            }
            load.plot(minutes, [look.in_flight for look in row.run.looks], **style)
            replicas.step(minutes, [look.replicas for look in row.run.looks], where="post", **style)
        load.set_title(model)
        load.set_ylabel("requests in flight")
        load.set_yscale("symlog", linthresh=10)
        load.set_ylim(bottom=0)
        replicas.set_ylabel("replicas asked for")
        replicas.set_ylim(bottom=0)
        replicas.set_xlabel("minutes")
    handles, labels = charts[1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    try:
        figure.savefig(path, format="png", dpi=130)
    except OSError as err:
        raise UsageError(f"{path} cannot be written: {err.strerror}") from err
