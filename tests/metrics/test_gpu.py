"""What NVML says is read into DCGM's fields and units, and what it cannot say is absent."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from tritonfleet.metrics.gpu import GpuReader, NoGpus


class Nvml:
    """Stands in for pynvml: two GPUs, and what fails."""

    NVMLError = pynvml.NVMLError
    NVMLError_NotSupported = pynvml.NVMLError_NotSupported
    NVML_TEMPERATURE_GPU = pynvml.NVML_TEMPERATURE_GPU
    NVML_CLOCK_SM = pynvml.NVML_CLOCK_SM
    NVML_CLOCK_MEM = pynvml.NVML_CLOCK_MEM
    nvmlMemory_v2 = pynvml.nvmlMemory_v2  # noqa: N815 - its names

    def __init__(self) -> None:
        self.failing: set[str] = set()
        self.error: Any = pynvml.NVMLError_NotSupported
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        def call(*_: Any, **__: Any) -> Any:
            self.calls.append(name)
            if name in self.failing:
                raise self.error()
            return {
                "nvmlDeviceGetCount": 2,
                "nvmlDeviceGetUUID": b"GPU-1",
                "nvmlDeviceGetName": "NVIDIA H100",
                "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=93, memory=41),
                "nvmlDeviceGetMemoryInfo": SimpleNamespace(used=70 << 30, free=9 << 30, reserved=1 << 30),
                "nvmlDeviceGetPowerUsage": 301_500,
                "nvmlDeviceGetTotalEnergyConsumption": 12_345,
                "nvmlDeviceGetTemperature": 55,
                "nvmlDeviceGetClockInfo": 1980,
            }.get(name)

        return call


def test_every_field_in_dcgms_unit() -> None:
    first, second = GpuReader(Nvml()).read()
    assert (first.index, second.index) == (0, 1)
    assert (first.uuid, first.name) == ("GPU-1", "NVIDIA H100")
    assert first.values == {
        "GPU_UTIL": 93,
        "MEM_COPY_UTIL": 41,
        "POWER_USAGE": 301.5,
        "TOTAL_ENERGY_CONSUMPTION": 12_345,
        "FB_USED": 70 * 1024,
        "FB_FREE": 9 * 1024,
        "FB_RESERVED": 1024,
        "GPU_TEMP": 55,
        "SM_CLOCK": 1980,
        "MEM_CLOCK": 1980,
    }


def test_what_a_gpu_cannot_tell_is_absent() -> None:
    nvml = Nvml()
    nvml.failing = {"nvmlDeviceGetPowerUsage", "nvmlDeviceGetUtilizationRates"}
    values = GpuReader(nvml).read()[0].values
    assert not {"POWER_USAGE", "GPU_UTIL", "MEM_COPY_UTIL"} & values.keys()
    assert "FB_USED" in values


@pytest.mark.parametrize("call", ["nvmlInit", "nvmlDeviceGetCount", "nvmlDeviceGetHandleByIndex"])
def test_a_driver_in_trouble_is_one_error_and_asked_anew(call: str) -> None:
    nvml = Nvml()
    nvml.failing, nvml.error = {call}, pynvml.NVMLError_DriverNotLoaded
    reader = GpuReader(nvml)
    with pytest.raises(NoGpus, match="Not Loaded"):
        reader.read()
    nvml.failing = set()
    assert len(reader.read()) == 2
    assert nvml.calls.count("nvmlInit") == 2
