"""What NVML tells of this machine's GPUs, under the DCGM exporter's names. Nothing of pynvml leaves this module."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tritonfleet.metrics.text import family

_MIB = 2**20


@dataclass(frozen=True)
class GpuReading:
    """One GPU at one moment."""

    index: int
    """Its number in PCI order, as in the spec's ``devices``."""
    uuid: str
    name: str
    values: Mapping[str, float] = field(default_factory=dict)
    """DCGM's field name without ``DCGM_FI_DEV_``, to its value in DCGM's unit; what the GPU cannot tell is absent."""


class NoGpus(Exception):
    """There is no driver, or it does not answer; the message says which."""


class GpuReader:
    """Reads all GPUs; calls block for some milliseconds, or longer while a driver is in trouble."""

    def __init__(self, library: Any = None) -> None:
        """Use *library* in place of pynvml."""
        self._library = library
        self._open = False

    def read(self) -> tuple[GpuReading, ...]:
        """Return a reading of every GPU; raise NoGpus."""
        if self._library is None:
            import pynvml

            self._library = pynvml
        nvml = self._library
        try:
            if not self._open:
                nvml.nvmlInit()
                self._open = True
            return tuple(_reading(nvml, number) for number in range(nvml.nvmlDeviceGetCount()))
        except nvml.NVMLError as err:
            self._open = False
            raise NoGpus(str(err)) from err


def gpu_text(readings: Sequence[GpuReading], fleet: str, hostname: str) -> str:
    """Return the readings as families of the page."""
    fields = sorted({name for reading in readings for name in reading.values})
    return "".join(
        family(
            f"DCGM_FI_DEV_{name}",
            (
                ((fleet, str(gpu.index), gpu.uuid, f"nvidia{gpu.index}", gpu.name, hostname), gpu.values[name])
                for gpu in readings
                if name in gpu.values
            ),
        )
        for name in fields
    )


def _reading(nvml: Any, number: int) -> GpuReading:
    gpu = nvml.nvmlDeviceGetHandleByIndex(number)
    asked: Sequence[Callable[[], Mapping[str, float]]] = (
        lambda: _utilization(nvml.nvmlDeviceGetUtilizationRates(gpu)),
        lambda: _memory(nvml, gpu),
        lambda: {"POWER_USAGE": nvml.nvmlDeviceGetPowerUsage(gpu) / 1000},
        lambda: {"TOTAL_ENERGY_CONSUMPTION": nvml.nvmlDeviceGetTotalEnergyConsumption(gpu)},
        lambda: {"GPU_TEMP": nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU)},
        lambda: {"SM_CLOCK": nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_SM)},
        lambda: {"MEM_CLOCK": nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_MEM)},
    )
    values: dict[str, float] = {}
    for ask in asked:
        try:
            values.update(ask())
        except nvml.NVMLError_NotSupported:  # a MIG instance has no power of its own, and so on
            continue
    return GpuReading(number, _text(nvml.nvmlDeviceGetUUID(gpu)), _text(nvml.nvmlDeviceGetName(gpu)), values)


def _utilization(rates: Any) -> Mapping[str, float]:
    return {"GPU_UTIL": rates.gpu, "MEM_COPY_UTIL": rates.memory}


def _memory(nvml: Any, gpu: Any) -> Mapping[str, float]:
    """Version 2 tells what the driver keeps for itself apart from what programs use, as DCGM does."""
    memory = nvml.nvmlDeviceGetMemoryInfo(gpu, version=nvml.nvmlMemory_v2)
    return {
        "FB_USED": memory.used // _MIB,
        "FB_FREE": memory.free // _MIB,
        "FB_RESERVED": memory.reserved // _MIB,
    }


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
