"""How long a model takes to sleep, wake and start. Pure.

Measured on one H200 with a model of Llama-2-7B's shape in bf16 (13.5 GB), vLLM 0.22 (see docs/planning.md): sleep
level 1 0.31 s, the first time 10 s (the host memory is pinned then); wake 0.72 s; cold start 38 to 89 s without
reading weights. The rates below are those times over PCIe 5's 63 GB/s; other sizes and links are scaled.
"""

from __future__ import annotations

#: Part of the link's rate that the copy to host memory reached: 13.5 GB / 0.31 s / 63 GB/s.
SLEEP_EFFICIENCY = 0.69
#: The same for the way back: 13.5 GB / 0.72 s / 63 GB/s.
WAKE_EFFICIENCY = 0.30
#: Rate of the first sleep of an engine, whose host memory is pinned then: 13.5 GB / 10 s.
PINNING_BYTES_PER_SECOND = 1.35e9
#: Middle of the measured cold starts: imports, compilation, profiling and graphs, without reading weights.
COLD_START_SECONDS = 60.0
#: The same on the CPU, two engines on two cores, vLLM 0.32 without compilation.
CPU_START_SECONDS = 40.0
#: Time of a polite stop; a guess, the supervisor kills after ``stop_seconds``.
STOP_SECONDS = 5.0
#: Rate at which weights come from local disk; an assumption (EBS gp3 at its 1,000 MB/s, local NVMe is faster).
DISK_BYTES_PER_SECOND = 1e9


def sleep_seconds(weights_bytes: int, link: float) -> float:
    """Return the time of a sleep at level 1, not the first one; *weights_bytes* of one GPU, *link* in bytes/s."""
    return weights_bytes / (SLEEP_EFFICIENCY * link)


def first_sleep_seconds(weights_bytes: int, link: float) -> float:
    """Return the time of an engine's first sleep at level 1."""
    return sleep_seconds(weights_bytes, link) + weights_bytes / PINNING_BYTES_PER_SECOND


def wake_seconds(weights_bytes: int, link: float) -> float:
    """Return the time of a wake from level 1."""
    return weights_bytes / (WAKE_EFFICIENCY * link)


def reload_seconds(all_weights_bytes: int) -> float:
    """Return the time of a wake from level 2, which reads the weights from disk again."""
    return all_weights_bytes / DISK_BYTES_PER_SECOND


def cold_start_seconds(all_weights_bytes: int, *, on_cpu: bool = False) -> float:
    """Return the time from starting the engine's process to its first answer."""
    return (CPU_START_SECONDS if on_cpu else COLD_START_SECONDS) + reload_seconds(all_weights_bytes)
