"""GPU kinds and EC2 instance types, and the machine that a plan is made for. Pure but for reading its own table.

``devices.json`` holds the numbers with their sources and the date of the prices.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

from tritonfleet.errors import UsageError

GIB = 2**30
_GPUS = re.compile(r"([a-z0-9-]+?)(?:[:x](\d+))?", re.IGNORECASE)


@dataclass(frozen=True)
class Gpu:
    """One GPU as CUDA shows it."""

    kind: str
    total_bytes: int
    pcie_bytes_per_second: float
    """Rate of its host link in one direction, as the link's standard has it."""
    large_batches: bool = False
    """vLLM's larger default batch: 70 GiB or more, and not an A100 (``EngineArgs.get_batch_defaults``, 0.22)."""
    taken_bytes: int = field(default=0, compare=False)
    """Held by other processes; it makes a GPU no other kind."""


@dataclass(frozen=True)
class Rates:
    """How fast a kind of GPU is, as its data sheet has it."""

    memory_bytes_per_second: float
    flops: float
    """16-bit multiplications and additions per second, dense."""


@dataclass(frozen=True)
class Price:
    """An on-demand list price."""

    usd_per_hour: float
    region: str
    date: str
    """Day of the price list, ISO 8601."""


@dataclass(frozen=True)
class Machine:
    """What a fleet is planned onto."""

    name: str
    gpus: tuple[Gpu, ...]
    host_bytes: int | None = None
    """Main memory; None where it is not known."""
    vcpus: int | None = None
    price: Price | None = None


def make_gpu(kind: str, total_bytes: int, pcie_bytes_per_second: float) -> Gpu:
    """Return a GPU, with vLLM's batch defaults for its memory."""
    large = total_bytes >= 70 * GIB and "a100" not in kind.lower()
    return Gpu(kind, total_bytes, pcie_bytes_per_second, large)


def gpu_kinds() -> tuple[str, ...]:
    """Return the kinds that ``--gpus`` knows."""
    return tuple(name for name in _table()["gpus"] if not name.startswith("_"))


def gpu(kind: str) -> Gpu:
    """Return the GPU called *kind*; raise UsageError with the nearest that is known."""
    known = gpu_kinds()
    name = kind.lower()
    if name not in known:
        raise UsageError(f"GPU kind {kind!r} is not known{_near(name, known)}; known: {', '.join(known)}")
    entry = _table()["gpus"][name]
    return make_gpu(name, round(entry["memory_gib"] * GIB), entry["pcie_gb_per_second"] * 1e9)


def rates(kind: str) -> Rates | None:
    """Return the rates of a GPU by its kind here, or by the name that its driver shows; None if it is not known."""
    table = _table()["gpus"]
    words = re.findall(r"[a-z0-9]+", kind.lower())
    known = next((key for key in gpu_kinds() if key == kind.lower() or key.partition("-")[0] in words), None)
    if known is None:
        return None
    entry = table[known]
    return Rates(entry["memory_gb_per_second"] * 1e9, entry["tflops"] * 1e12)


def machine_of_gpus(text: str) -> Machine:
    """Return the machine that ``KIND:COUNT`` describes, for example ``h200:1``; several are joined with commas.

    Raises UsageError for another form, an unknown kind or a count outside 1 to 64.
    """
    gpus: list[Gpu] = []
    for part in text.split(","):
        match = _GPUS.fullmatch(part.strip())
        if match is None:
            raise UsageError(f"--gpus {text!r} is not of the form KIND:COUNT; write for example h200:1 or l4:4")
        count = int(match[2] or 1)
        if not 1 <= count <= 64:
            raise UsageError(f"--gpus {text!r} names {count} GPUs; write a number from 1 to 64")
        gpus += [gpu(match[1])] * count
    return Machine(text, tuple(gpus))


def machine_of_instance(name: str) -> Machine:
    """Return the EC2 instance type called *name*; raise UsageError with the nearest that is known."""
    table = _table()["instances"]
    known = [key for key in table if not key.startswith("_")]
    if name not in known:
        raise UsageError(
            f"instance type {name!r} is not in the table of GPU instances{_near(name, known)}; "
            "describe its GPUs with --gpus, for example --gpus l4:4"
        )
    entry = table[name]
    price = Price(entry["usd_per_hour"], table["_region"], table["_priced"])
    return Machine(name, (gpu(entry["gpu"]),) * entry["gpus"], entry["memory_gib"] * GIB, entry["vcpus"], price)


def instances() -> tuple[Machine, ...]:
    """Return all instance types, the cheapest first."""
    names = (name for name in _table()["instances"] if not name.startswith("_"))
    return tuple(sorted(map(machine_of_instance, names), key=_hourly))


def _hourly(machine: Machine) -> float:
    return machine.price.usd_per_hour if machine.price else float("inf")


def _near(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else ""


@cache
def _table() -> dict[str, Any]:
    text = resources.files("tritonfleet.planner").joinpath("devices.json").read_text(encoding="utf-8")
    table: dict[str, Any] = json.loads(text)
    return table
