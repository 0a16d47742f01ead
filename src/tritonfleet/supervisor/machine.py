"""What this machine has: GPUs by NVML, cores by the scheduler."""

from __future__ import annotations

import os


def gpu_count() -> int:
    """Return the number of NVIDIA GPUs that the driver shows; 0 without a driver."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return 0
    try:
        return int(pynvml.nvmlDeviceGetCount())
    finally:
        pynvml.nvmlShutdown()


def cores() -> tuple[int, ...]:
    """Return the cores that this process may use."""
    return tuple(sorted(os.sched_getaffinity(0)))
