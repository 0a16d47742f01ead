"""Settings that every test shares."""

from __future__ import annotations

import gc
import os

from hypothesis import settings

# The machine that runs the tests is shared, so one slow example says nothing. In CI the same change always sees the
# same examples: what is found by chance is found at a desk, not while something else is being merged.
settings.register_profile("shared", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("shared")


def pytest_collection_finish() -> None:
    """Leave what was collected, some millions of objects, out of every later garbage collection."""
    gc.collect()
    gc.freeze()


def pytest_xdist_auto_num_workers() -> int | None:
    """Half of the time of a test is spent waiting for a process or a deadline: on few cores, two workers for each."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None  # pytest-xdist reads it
    cores = len(os.sched_getaffinity(0))
    return max(cores, min(2 * cores, 16))
