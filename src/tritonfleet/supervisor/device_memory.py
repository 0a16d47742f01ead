"""How much memory of a device is free now: what tells whether an engine that sleeps has given its memory back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol

from tritonfleet.metrics.gpu import GpuReader, NoGpus

log = logging.getLogger(__name__)

_MIB = 2**20


class DeviceMemory(Protocol):
    """Reads devices."""

    async def free_bytes(self, gpus: Sequence[int]) -> tuple[int, ...] | None:
        """Return the free bytes of each of *gpus*, in order; None where nobody can tell."""
        ...


class NoDeviceMemory:
    """For engines on the CPU, whose sleep frees nothing."""

    async def free_bytes(self, gpus: Sequence[int]) -> tuple[int, ...] | None:
        """Return None."""
        return None


class NvmlMemory:
    """Asks the NVIDIA driver."""

    def __init__(self, reader: GpuReader | None = None) -> None:
        self._reader = reader or GpuReader()
        self._silent = False

    async def free_bytes(self, gpus: Sequence[int]) -> tuple[int, ...] | None:
        """Return the free bytes of each of *gpus*; None, and a line in the log, while the driver does not answer."""
        try:
            readings = {reading.index: reading.values for reading in await asyncio.to_thread(self._reader.read)}
            self._silent = False
            return tuple(int(readings[gpu]["FB_FREE"] * _MIB) for gpu in gpus)
        except (NoGpus, KeyError) as err:
            if not self._silent:
                log.warning("the free memory of GPU %s cannot be read: %s", ",".join(map(str, gpus)), err)
            self._silent = True
            return None
