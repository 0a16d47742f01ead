"""This machine, as the planner sees one: GPUs by NVML, memory by psutil and control groups, cores by psutil."""

from __future__ import annotations

import platform
from dataclasses import replace
from pathlib import Path
from typing import Any

from tritonfleet.planner.devices import Gpu, Machine, make_gpu

#: Bytes per second of one PCIe lane by generation, one direction, after the line code (PCI-SIG).
_LANE = {1: 0.25e9, 2: 0.5e9, 3: 0.985e9, 4: 1.969e9, 5: 3.938e9, 6: 7.563e9}


def machine_here(*, free: bool = False) -> Machine:
    """Return this machine; without an NVIDIA driver it has no GPUs.

    With *free*, what other processes hold of the GPUs now is not there to be given out.
    """
    import psutil

    return Machine(
        name=platform.node() or "this machine",
        gpus=_gpus(free=free),
        host_bytes=min([int(psutil.virtual_memory().total), *memory_limits(Path("/"))]),
        vcpus=psutil.cpu_count(),
    )


def memory_limits(root: Path) -> list[int]:
    """Return the limits in bytes that control groups set to this process: its own, and those above it.

    *root* is ``/`` but in tests.
    """
    limits = [_number(root / "sys/fs/cgroup/memory/memory.limit_in_bytes")]  # version 1, as containers see it
    group = next((line[3:] for line in _lines(root / "proc/self/cgroup") if line.startswith("0::")), "/")
    base = root / "sys/fs/cgroup"
    folder = base / group.strip("/")
    while folder == base or base in folder.parents:
        limits.append(_number(folder / "memory.max"))
        folder = folder.parent
    return [limit for limit in limits if limit is not None]


def _number(file: Path) -> int | None:
    """Return the number in *file*; None where there is none, or a word such as ``max``."""
    text = "".join(_lines(file))
    return int(text) if text.isdecimal() else None


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []


def _gpus(*, free: bool) -> tuple[Gpu, ...]:
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ()
    try:
        return tuple(_gpu(pynvml, number, free=free) for number in range(pynvml.nvmlDeviceGetCount()))
    except pynvml.NVMLError:
        return ()
    finally:
        pynvml.nvmlShutdown()


def _gpu(pynvml: Any, number: int, *, free: bool) -> Gpu:
    """Return one GPU; the driver's own reserve is not CUDA's to give."""
    handle = pynvml.nvmlDeviceGetHandleByIndex(number)
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2)
    try:
        generation = pynvml.nvmlDeviceGetMaxPcieLinkGeneration(handle)
        lanes = pynvml.nvmlDeviceGetMaxPcieLinkWidth(handle)
    except pynvml.NVMLError:  # not told inside some virtual machines
        generation, lanes = 4, 16
    name = pynvml.nvmlDeviceGetName(handle)
    kind = name if isinstance(name, str) else name.decode()
    gpu = make_gpu(kind, int(memory.total - memory.reserved), _LANE.get(generation, _LANE[4]) * lanes)
    return replace(gpu, taken_bytes=int(memory.used)) if free else gpu
