"""Write docs/metrics.md from the table of metrics; with --check, only say whether it is current.

python scripts/metrics_doc.py [--check]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from tritonfleet.metrics.table import ENGINE_LABELS, SOURCES, TABLE, VLLM_LABELS, Metric, Source

PAGE = Path(__file__).resolve().parents[1] / "docs" / "metrics.md"

_BEGINNING = """\
# Metrics

<!-- Made by scripts/metrics_doc.py from src/tritonfleet/metrics/table.py. -->

One page has the metrics of the whole fleet, at the OpenAI door:

```console
$ curl -s localhost:9000/metrics
```

It needs no API key. For Prometheus:

```yaml
scrape_configs:
  - job_name: tritonfleet
    scrape_interval: 15s
    static_configs:
      - targets: ["localhost:9000"]
```

Triton's own metrics (`nv_*`) stay at its own port, 8002 by default. Its times and counts of a model that streams are
not those of the requests: Triton books a request as done when the backend takes it. Use the ones on this page.

## What is on the page, and what is not

- Every series of every engine, with the labels {labels} added. `replica` counts from 0, `engine` is the program's
  name in `fleet.yaml`, and `pool` is the pool of nodes: the model's own name unless the spec names one. The doors'
  and share groups' series of a model have its `pool` too. A label of the
  engine's own with one of these names is kept as `exported_NAME`; vLLM's `engine`, the index of an engine core, as
  `engine_index`.
- Engines other than vLLM get vLLM's names for the same meanings, so one dashboard serves all. What only they have
  passes through under its own name. Older releases of vLLM get the newer names.
- Left out: `python_*`, and the `_created` times, which vLLM is asked not to make.
- **What is not known is absent, never zero.** The series of an engine that hangs, starts or died are not on the page,
  and `tritonfleet_scrape_up` is 0 for it. It is absent for a model that is not loaded, or whose engine ended to
  sleep. `tritonfleet_scrape_part_up` tells the same of Triton, the GPUs and the supervisor.

Engines are read side by side when somebody asks for the page, each with a second to answer. Scrapers that come within
half a second get the same page. The supervisor's log says once which engine cannot be read, and why.

Merging the pages of eight engines of vLLM 0.32 (40 kB each, 484 kB together) takes {merging} ms of CPU, and everything
that the supervisor does for a scrape {scrape} ms (`python scripts/bench_metrics.py`, two cores that were busy with
other work).

GPUs are read by NVML where the fleet has any, under the names of NVIDIA's DCGM exporter; two H100s take 10 ms, beside
the other work (`scripts/gpu/nvml_page.py`, which also compares them with nvidia-smi). Where that exporter runs as well,
choose by `job`, or each GPU counts twice.
"""
#: Measured by scripts/bench_metrics.py, medians.
_MERGING, _SCRAPE = "1.5 to 3.0", "4.0 to 6.8"

_NOTES: dict[Source, str] = {
    "engine": (
        "… stands for the labels that are added and vLLM's own, `model_name` and `engine_index`. The others have "
        "labels of their own instead, and not every metric: llama.cpp has no histograms."
    ),
    "gateway": "A model's series begin at 0 as soon as the gateway knows the model.",
    "bridge": "Triton's own port shows them without `fleet`.",
    "supervisor": "… stands for the labels of an engine.",
    "share": "Only where `fleet.yaml` has share groups.",
    "gpu": "What a GPU cannot tell (a MIG instance has no power of its own) is absent.",
}


def page() -> str:
    """Return the text of docs/metrics.md."""
    labels = ", ".join(f"`{label}`" for label in ENGINE_LABELS)
    text = _BEGINNING.format(labels=labels, merging=_MERGING, scrape=_SCRAPE)
    return text + "".join(_section(source) for source in SOURCES)


def _section(source: Source) -> str:
    title = {"gpu": "GPUs", "share": "Share groups"}.get(source, f"{source.capitalize()}")
    lines = [f"\n## {title}\n", f"From {SOURCES[source]}. {_NOTES[source]}".rstrip() + "\n"]
    lines += ["| name | type | labels | unit | what |", "| --- | --- | --- | --- | --- |"]
    lines += [_row(metric) for metric in TABLE if metric.source == source]
    return "\n".join(lines) + "\n"


def _row(metric: Metric) -> str:
    own = metric.labels
    for common in (VLLM_LABELS, ENGINE_LABELS):
        if own[: len(common)] == common:
            own = ("…", *own[len(common) :])
    return f"| `{metric.name}` | {metric.kind} | {', '.join(own)} | {metric.unit} | {metric.help} |"


def main(argv: Sequence[str]) -> int:
    """Write the page, or check it."""
    if "--check" not in argv:
        PAGE.write_text(page())
        return 0
    if PAGE.read_text() != page():
        print(f"{PAGE} is not current; run python scripts/metrics_doc.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
