"""Panels that a machine without GPUs cannot fill, with the series that they are tried on instead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_GPU = '{fleet="f",gpu="%s",UUID="GPU-%s",device="nvidia%s",modelName="NVIDIA H200",Hostname="box"}'
_GROUP = '{fleet="f",group="g"}'
_OF_GROUP = '{fleet="f",group="g",model="%s",pool="g"}'
_NO_GPU = "the fleet runs on the CPU, and NVML tells nothing there"
_NO_GROUP = "models of a share group need a GPU to take turns on; on the CPU each has cores of its own"


@dataclass(frozen=True)
class Elsewhere:
    """Why a panel has no data on a CPU machine, and what its queries return where it has."""

    reason: str
    series: Mapping[str, str]
    """Series to values in promtool's notation, one a minute; the queries are asked after 10 minutes."""
    results: tuple[tuple[tuple[str, float], ...], ...]
    """Of each query: labels and value of every line."""


def _gpus(name: str, *values: float) -> dict[str, str]:
    """Return a value for each GPU, told twice: by the fleet's page and by a DCGM exporter."""
    told = {f"{name}{_GPU % (gpu, gpu, gpu)}": f"{value}x20" for gpu, value in enumerate(values)}
    return told | {series.replace('fleet="f",', ""): values for series, values in told.items()}


def _gpu(number: int) -> str:
    return f'{{Hostname="box", UUID="GPU-{number}", gpu="{number}"}}'


#: Panel to what stands for it. Title by title, so that a new panel must have data in the real fleet.
ELSEWHERE: Mapping[str, Elsewhere] = {
    "Average GPU power": Elsewhere(_NO_GPU, _gpus("DCGM_FI_DEV_POWER_USAGE", 600, 200), ((("{}", 400),),)),
    "GPU utilisation": Elsewhere(_NO_GPU, _gpus("DCGM_FI_DEV_GPU_UTIL", 90, 10), (((_gpu(0), 0.9), (_gpu(1), 0.1)),)),
    "GPU memory in use": Elsewhere(
        _NO_GPU,
        _gpus("DCGM_FI_DEV_FB_USED", 105000, 35000) | _gpus("DCGM_FI_DEV_FB_FREE", 35000, 105000),
        (((_gpu(0), 0.75), (_gpu(1), 0.25)),),
    ),
    "GPU temperature": Elsewhere(_NO_GPU, _gpus("DCGM_FI_DEV_GPU_TEMP", 61, 40), (((_gpu(0), 61), (_gpu(1), 40)),)),
    "Swaps per minute": Elsewhere(
        _NO_GROUP, {f"tritonfleet_share_switches_total{_GROUP}": "0+3x20"}, ((('{group="g"}', 3),),)
    ),
    "Time of a swap": Elsewhere(
        _NO_GROUP,
        {
            f'tritonfleet_share_switch_seconds_bucket{{fleet="f",group="g",le="{le}"}}': f"0+{count}x20"
            for le, count in (("1", 0), ("2", 3), ("+Inf", 3))
        }
        | {f"tritonfleet_share_switch_seconds_sum{_GROUP}": "0+6x20"},
        ((('{group="g"}', 1.95),), (('{group="g"}', 0.1),)),
    ),
    "Awake": Elsewhere(
        _NO_GROUP,
        {
            f"tritonfleet_share_resident{_OF_GROUP % model}": f"{value}x20"
            for model, value in (("llama2", 1), ("mistral7b", 0))
        },
        (
            (
                ('tritonfleet_share_resident{fleet="f", group="g", model="llama2", pool="g"}', 1),
                ('tritonfleet_share_resident{fleet="f", group="g", model="mistral7b", pool="g"}', 0),
            ),
        ),
    ),
    "Waiting for their model to wake": Elsewhere(
        _NO_GROUP,
        {
            f"tritonfleet_share_waiting{_OF_GROUP % 'mistral7b'}": "4x20",
            f"tritonfleet_share_oldest_wait_seconds{_OF_GROUP % 'mistral7b'}": "2.5x20",
        },
        (
            (('tritonfleet_share_waiting{fleet="f", group="g", model="mistral7b", pool="g"}', 4),),
            (('tritonfleet_share_oldest_wait_seconds{fleet="f", group="g", model="mistral7b", pool="g"}', 2.5),),
        ),
    ),
}
