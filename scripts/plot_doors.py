"""Plot tokens/s and TTFT against streams from a result of bench_gpu.py: plot_doors.py RESULT.json OUT.png"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt


def main() -> None:
    """Read the result and write the picture."""
    result = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    rows = result["rows"]
    figure, (speed, first) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for door in dict.fromkeys(row["door"] for row in rows):
        mine = [row for row in rows if row["door"] == door]
        streams = [row["streams"] for row in mine]
        speed.plot(streams, [row["summary"]["tokens_per_second"] for row in mine], marker="o", label=door)
        first.plot(streams, [row["summary"]["ttft_p50"] * 1e3 for row in mine], marker="o", label=door)
    for axes, title, unit in ((speed, "Throughput", "tokens/s"), (first, "Time to first token, p50", "ms")):
        axes.set(title=title, xlabel="streams", ylabel=unit, xscale="log")
        axes.set_xticks([row["streams"] for row in rows if row["door"] == rows[0]["door"]])
        axes.get_xaxis().set_major_formatter(mpl.ticker.ScalarFormatter())
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    speed.legend()
    figure.suptitle(f"{result['about']['model']} on {result['about']['gpu']}")
    figure.savefig(sys.argv[2], dpi=110)


if __name__ == "__main__":
    main()
