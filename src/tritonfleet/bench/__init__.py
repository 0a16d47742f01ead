"""Measuring a running fleet: load, samples, statistics and results. Not for judging a model's answers."""

from tritonfleet.bench.load import arrival_times, closed_loop, open_loop
from tritonfleet.bench.stats import Interval, Sample, Summary, bootstrap_median, summarize

__all__ = [
    "Interval",
    "Sample",
    "Summary",
    "arrival_times",
    "bootstrap_median",
    "closed_loop",
    "open_loop",
    "summarize",
]
