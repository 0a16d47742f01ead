"""Prometheus' text format: labels, numbers and whole families as text. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from tritonfleet.metrics.table import METRICS

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def escaped(value: str) -> str:
    """Return a label's value as it stands between quotes."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def label_text(labels: Mapping[str, str]) -> str:
    """Return labels without their braces: ``a="1",b="2"``."""
    return ",".join(f'{name}="{escaped(value)}"' for name, value in labels.items())


def number(value: float) -> str:
    """Return a sample's value."""
    if math.isfinite(value):
        return str(int(value)) if value == int(value) and abs(value) < 2**53 else repr(float(value))
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"


def header(name: str, kind: str, text: str) -> str:
    """Return the lines that begin a family."""
    described = text.replace("\\", "\\\\").replace("\n", "\\n")
    return f"# HELP {name} {described}\n# TYPE {name} {kind}\n"


def family(name: str, samples: Iterable[tuple[Sequence[str], float]]) -> str:
    """Return a counter or gauge of the table; a sample is the values of its labels, in the table's order, and a number.

    Nothing is returned where there are no samples. Raises KeyError for a name that is not in the table and ValueError
    for too few or too many labels.
    """
    metric = METRICS[name]
    lines = [
        f"{name}{{{label_text(dict(zip(metric.labels, values, strict=True)))}}} {number(value)}\n"
        for values, value in samples
    ]
    return header(name, metric.kind, metric.help) + "".join(lines) if lines else ""


def histogram(name: str, samples: Iterable[tuple[Sequence[str], Mapping[float, float], float]]) -> str:
    """Return a histogram of the table; a sample is labels, cumulative counts by upper bound, and the sum.

    The bound ``math.inf`` must be among the counts (KeyError otherwise).
    """
    metric = METRICS[name]
    lines = []
    for values, counts, total in samples:
        labels = dict(zip(metric.labels, values, strict=True))
        for bound in sorted(counts):
            shown = label_text({**labels, "le": repr(float(bound)) if math.isfinite(bound) else "+Inf"})
            lines.append(f"{name}_bucket{{{shown}}} {number(counts[bound])}\n")
        lines.append(f"{name}_sum{{{label_text(labels)}}} {number(total)}\n")
        lines.append(f"{name}_count{{{label_text(labels)}}} {number(counts[math.inf])}\n")
    return header(name, metric.kind, metric.help) + "".join(lines) if lines else ""
