"""How fast each engine of a plan is: measured values out of a file, or an estimate from the GPU's data sheet. Pure."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tritonfleet.engines.arguments import read_arguments
from tritonfleet.errors import UsageError
from tritonfleet.planner.architecture import Architecture
from tritonfleet.planner.demand import settings_of
from tritonfleet.planner.devices import Machine, Rates, rates
from tritonfleet.planner.facts import ModelFacts
from tritonfleet.planner.result import ReplicaPlan
from tritonfleet.simulate.engine import Speed
from tritonfleet.spec.models import ModelSpec

#: Part of the memory's rate that decoding reaches: 13.5 GB / 4.43 ms / 4.8 TB/s, Llama-2-7B's shape on an H200.
MEMORY_EFFICIENCY = 0.635
#: Part of the arithmetic's rate that prefill reaches; an assumption.
PREFILL_EFFICIENCY = 0.5
#: Time to first token beyond the engine's own steps, through the gateway; measured there: 19.3 ms with one stream.
OVERHEAD_SECONDS = 0.008
#: Tokens of a sequence's cache that an average decode step reads.
CONTEXT_TOKENS = 512
_BATCHES = (1, 8, 32, 128, 256, 1024)
_FIELDS = {
    "tpot_seconds", "prefill_tokens_per_second", "overhead_seconds", "max_running", "kv_tokens", "batch_tokens",
    "sleep_seconds", "first_sleep_seconds", "wake_seconds", "cold_start_seconds",
}  # fmt: skip


@dataclass(frozen=True)
class Times:
    """What was measured of one model: its engine's speed, and what a switch takes."""

    speed: Speed
    sleep_seconds: float | None = None
    """None: the plan's prediction."""
    first_sleep_seconds: float | None = None
    wake_seconds: float | None = None
    """With the token that ends it, as the supervisor's log has it."""
    cold_start_seconds: float | None = None


def read_times(path: Path) -> dict[str, Times]:
    """Return the measured times by model in the JSON file *path*; ``*`` stands for all others.

    Raises UsageError naming the file, the model and the key that is wrong.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise UsageError(f"{path} cannot be read as JSON: {err}") from err
    if not isinstance(data, dict) or not all(isinstance(entry, dict) for entry in data.values()):
        raise UsageError(f"{path} must hold an object of objects: the times of each model by its name, or of all by *")
    return {model: _times(f"{path}: {model}", entry) for model, entry in data.items()}


def estimate(replica: ReplicaPlan, model: ModelSpec, facts: ModelFacts | None, machine: Machine) -> Speed:
    """Return an engine's speed by arithmetic: decoding reads weights and cache, prefill multiplies.

    Raises UsageError where nothing is known: for the CPU, for a GPU that is not in the table, for a model whose memory
    is not computed.
    """
    shape = facts.architecture if facts else None
    found = rates(machine.gpus[replica.gpus[0]].kind) if replica.gpus else None
    if shape is None or found is None:
        where = machine.gpus[replica.gpus[0]].kind if replica.gpus else "the CPU"
        raise UsageError(
            f"{model.name}: how fast it is on {where} is not known; measure it, and give the times with --times FILE "
            "(docs/planning.md has the form)"
        )
    settings = settings_of(model, shape, machine.gpus[replica.gpus[0]])
    return Speed(
        tuple((batch, _step(replica, shape, found, batch)) for batch in _BATCHES),
        prefill_tokens_per_second=found.flops * PREFILL_EFFICIENCY / _flops_per_token(replica, shape),
        overhead_seconds=OVERHEAD_SECONDS,
        max_running=settings.sequences,
        kv_tokens=max(1, replica.kv_tokens),
        batch_tokens=settings.batch_tokens,
    )


def _step(replica: ReplicaPlan, shape: Architecture, found: Rates, batch: int) -> float:
    weights = replica.weights_bytes * _touched(shape, batch)
    cache = batch * CONTEXT_TOKENS * replica.kv_bytes_per_token
    return (weights + cache) / (found.memory_bytes_per_second * MEMORY_EFFICIENCY)


def _touched(shape: Architecture, tokens: int) -> float:
    """Return the part of the weights that a step with this many tokens reads; of experts only those that are picked."""
    if shape.experts is None:
        return 1.0
    return 1.0 - (1.0 - shape.experts.per_token / shape.experts.count) ** tokens


def _flops_per_token(replica: ReplicaPlan, shape: Architecture) -> float:
    """Return multiplications and additions of one token on one GPU; weights count as stored in the model's type."""
    bits = shape.quantization.bits or 8 * shape.dtype_bytes
    return max(1.0, 2 * replica.weights_bytes * 8 / bits * _touched(shape, 1))


def fake_times(model: ModelSpec) -> Times:
    """Return the times of the fake engine, which does what its options say; a wake ends with a token."""
    given = read_arguments(model.name, model.engine_args)
    seconds = {name: float(given.get(f"{name}_ms", 0)) / 1000 for name in ("ttft", "tpot", "sleep", "wake")}
    return Times(
        Speed(
            ((1, max(seconds["tpot"], 1e-6)),),
            prefill_tokens_per_second=1e9,
            overhead_seconds=max(0.0, seconds["ttft"] - seconds["tpot"]),
            max_running=int(given.get("max_running", 256)),
        ),
        sleep_seconds=seconds["sleep"],
        wake_seconds=seconds["wake"] + seconds["ttft"],
        cold_start_seconds=float(given.get("start_seconds", 0)),
    )


def _times(where: str, entry: Mapping[str, Any]) -> Times:
    for key in entry:
        if key not in _FIELDS:
            near = difflib.get_close_matches(key, _FIELDS, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; known: {', '.join(sorted(_FIELDS))}"
            raise UsageError(f"{where}: {key} is not a time that is known{hint}")
    for key in ("tpot_seconds", "prefill_tokens_per_second"):
        if key not in entry:
            raise UsageError(f"{where}: {key} is missing")
    plain = {key: _number(where, key, entry[key]) for key in entry if key != "tpot_seconds"}
    speed = {key: plain[key] for key in ("prefill_tokens_per_second", "overhead_seconds") if key in plain}
    whole = {key: max(1, int(plain[key])) for key in ("max_running", "kv_tokens", "batch_tokens") if key in plain}
    if plain["prefill_tokens_per_second"] <= 0:
        raise UsageError(f"{where}: prefill_tokens_per_second is 0; write a number above 0")
    return Times(
        Speed(_points(where, entry["tpot_seconds"]), **speed, **whole),  # type: ignore[arg-type]
        *(plain.get(key) for key in ("sleep_seconds", "first_sleep_seconds", "wake_seconds", "cold_start_seconds")),
    )


def _points(where: str, value: object) -> tuple[tuple[int, float], ...]:
    """Return the step times by batch: one number for all, or pairs of batch and seconds."""
    pairs = [[1, value]] if isinstance(value, int | float) else value
    if not isinstance(pairs, list) or not pairs:
        raise UsageError(f"{where}: tpot_seconds is {value!r}; write seconds, or [[batch, seconds], ...]")
    points = []
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) != 2 or not isinstance(pair[0], int) or pair[0] < 1:
            raise UsageError(f"{where}: tpot_seconds holds {pair!r}; write [batch, seconds]")
        points.append((pair[0], max(1e-6, _number(where, "tpot_seconds", pair[1]))))
    if len({batch for batch, _ in points}) < len(points):
        raise UsageError(f"{where}: tpot_seconds names a batch twice")
    return tuple(sorted(points))


def _number(where: str, key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise UsageError(f"{where}: {key} is {value!r}; write a number, 0 or more")
    return float(value)
