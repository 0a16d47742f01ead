"""What one engine of the spec asks of a GPU: its settings, its memory, the smallest request it starts with. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tritonfleet.engines.arguments import read_arguments
from tritonfleet.errors import CapacityError, UsageError
from tritonfleet.planner.architecture import Architecture
from tritonfleet.planner.devices import GIB, Gpu
from tritonfleet.planner.facts import ModelFacts
from tritonfleet.planner.memory import EngineSettings, Footprint, batch_defaults, footprint
from tritonfleet.planner.parameters import Split
from tritonfleet.spec.models import ModelSpec

#: LoRA defaults: rank of vLLM's ``LoRAConfig``, slots as the fleet sets them (docs/engines.md).
LORA_RANK, LORA_SLOTS = 16, 8


@dataclass(frozen=True)
class Demand:
    """One engine on one kind of GPU."""

    model: ModelSpec
    settings: EngineSettings
    footprint: Footprint
    limit: int
    """The model's own longest context in tokens."""
    smallest: int
    """Smallest request in bytes with which the engine starts."""
    given: int | None
    """The request that the user fixed in bytes; None leaves it to the plan."""

    @property
    def need(self) -> int:
        """Request in bytes that must be there."""
        return self.smallest if self.given is None else self.given

    @property
    def starts(self) -> bool:
        """Whether the engine starts with the request that the user fixed, if there is one."""
        return self.given is None or self.given >= self.smallest


def split_of(model: ModelSpec) -> Split:
    """Return over how many GPUs each replica is spread."""
    return Split(model.tensor_parallel, model.pipeline_parallel)


def settings_of(model: ModelSpec, architecture: Architecture, gpu: Gpu) -> EngineSettings:
    """Return the options with which vLLM would run *model* on *gpu*; raise UsageError for a value that is no number."""
    given = read_arguments(model.name, model.engine_args)
    longest = model.max_model_len or architecture.max_positions
    default_tokens, default_sequences = batch_defaults(gpu, longest)
    sequences = _whole(model, given, "max_num_seqs") or default_sequences
    tokens = _whole(model, given, "max_num_batched_tokens") or min(default_tokens, sequences * longest)
    share = _number(model, given, "gpu_memory_utilization")
    share = _number(model, given, "device_memory_utilization") if share is None else share
    if share is not None and not 0 < share <= 1:
        raise UsageError(
            f"{model.name}: engine_args.gpu_memory_utilization is {share:g}; write a part of the GPU's memory, 0 to 1"
        )
    return EngineSettings(
        max_model_len=longest,
        batch_tokens=tokens,
        sequences=min(sequences, tokens),
        graphs=str(given.get("enforce_eager", False)).lower() != "true",
        utilization=share,
        kv_bytes=_whole(model, given, "kv_cache_memory_bytes"),
        kv_element_bytes=1 if str(given.get("kv_cache_dtype", "")).startswith("fp8") else 2,
        block_tokens=_whole(model, given, "block_size") or 0,
        lora_rank=_whole(model, given, "max_lora_rank") or LORA_RANK,
        lora_slots=_whole(model, given, "max_loras") or min(len(model.lora), LORA_SLOTS) if model.lora else 0,
    )


def demand(model: ModelSpec, facts: ModelFacts, gpu: Gpu) -> Demand | None:
    """Return what *model* asks of *gpu*; None where its memory is not known.

    Raises CapacityError if the user's own ``gpu_memory_utilization`` or ``kv_cache_memory_bytes`` is too small for
    one sequence, UsageError if the model cannot be split as the spec says.
    """
    architecture = facts.architecture
    if architecture is None:
        return None
    _check_split(model, architecture)
    settings = settings_of(model, architecture, gpu)
    taken = footprint(architecture, facts.stored, settings, split_of(model))
    smallest = taken.need(settings.max_model_len)
    given = None
    if settings.kv_bytes is not None:
        given = taken.fixed + settings.kv_bytes
    elif settings.utilization is not None:
        given = math.ceil(gpu.total_bytes * settings.utilization)
    return Demand(model, settings, taken, architecture.max_positions, smallest, given)


def shortage(wanted: Demand, available: int) -> str:
    """Return what *wanted* needs against *available* bytes, as the sum that a person can check."""
    taken, longest = wanted.footprint, wanted.settings.max_model_len
    parts = [
        f"weights {gib(taken.weights)}",
        f"activations {gib(taken.activation)}",
        f"graphs and CUDA {gib(taken.graphs + taken.cuda)}",
        *([f"LoRA {gib(taken.lora)}"] if taken.lora else []),
        f"KV cache for one sequence of {longest:,} tokens {gib(taken.cache.bytes_for(longest))}",
    ]
    text = f"{' + '.join(parts)} = {gib(wanted.smallest)} on each GPU, and {gib(available)} are there"
    fits = taken.cache.longest(available - taken.fixed, longest)
    if fits >= 1024:
        return f"{text}; `max_model_len: {fits // 1024 * 1024}` would fit"
    return f"{text}; use tensor_parallel, a quantised model, or GPUs with more memory"


def check_given(wanted: Demand, gpu: Gpu) -> None:
    """Raise CapacityError if the request that the user fixed is too small for the engine to start."""
    if wanted.given is None or wanted.starts:
        return
    name = "gpu_memory_utilization" if wanted.settings.kv_bytes is None else "kv_cache_memory_bytes"
    raise CapacityError(
        f"{wanted.model.name}: engine_args.{name} gives the engine {gib(wanted.given)} of a {gpu.kind}: "
        f"{shortage(wanted, wanted.given)}; or remove {name}, and the plan chooses it"
    )


def gib(size: int) -> str:
    """Return a size in GiB with one decimal, or MiB below one tenth."""
    return f"{size / GIB:.1f} GiB" if abs(size) >= GIB / 10 or size == 0 else f"{size / 2**20:.0f} MiB"


def _check_split(model: ModelSpec, architecture: Architecture) -> None:
    tensor = model.tensor_parallel
    if architecture.heads % tensor:
        raise UsageError(
            f"{model.name}: tensor_parallel {tensor} does not divide the model's {architecture.heads} attention heads"
        )
    if model.pipeline_parallel > len(architecture.layers):
        raise UsageError(
            f"{model.name}: pipeline_parallel {model.pipeline_parallel} is more than the model's "
            f"{len(architecture.layers)} layers"
        )


def _number(model: ModelSpec, given: Mapping[str, Any], name: str) -> float | None:
    value = given.get(name)
    if value is None:
        return None
    try:
        return float(str(value))
    except ValueError as err:
        raise UsageError(f"{model.name}: engine_args.{name} is {value!r}; write a number") from err


def _whole(model: ModelSpec, given: Mapping[str, Any], name: str) -> int | None:
    value = _number(model, given, name)
    return None if value is None else int(value)
