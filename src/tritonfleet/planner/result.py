"""A plan as values: every replica's GPUs and memory, every GPU's use. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tritonfleet.planner.devices import Machine

#: How an engine gives its device away; stop is for engines that cannot sleep.
SleepLevel = Literal[1, 2, "stop"]


@dataclass(frozen=True)
class ReplicaPlan:
    """One engine: where it runs and what it takes on each of its GPUs. Bytes are per GPU."""

    model: str
    replica: int
    gpus: tuple[int, ...]
    """GPU numbers; empty means the CPU."""
    share: str | None
    """Share group, whose members take turns on the GPUs."""
    keep_warm: bool
    claim_bytes: int
    """vLLM's request: everything of the engine but the CUDA context; 0 on the CPU."""
    utilization: float | None
    """``gpu_memory_utilization`` that makes the engine request *claim_bytes*; None where it does not apply."""
    weights_bytes: int
    activation_bytes: int
    """Activations of the largest batch, and LoRA slots."""
    graph_bytes: int
    """CUDA graphs, and what CUDA loads."""
    kv_bytes: int
    kv_tokens: int
    """Tokens that the cache holds, as vLLM reports them."""
    kv_bytes_per_token: int
    max_model_len: int
    longest_context: int
    """Longest sequence that would fit into the cache, at most the model's own limit."""
    concurrent: float
    """Sequences of max_model_len tokens that fit at once."""
    sleep: SleepPlan | None
    cold_start_seconds: float
    known: bool = True
    """False for a model whose memory is not computed; it has its GPUs for itself."""

    @property
    def name(self) -> str:
        """Model and replica as one word."""
        return f"{self.model}/{self.replica}"


@dataclass(frozen=True)
class SleepPlan:
    """How a member of a share group gives its GPUs away."""

    level: SleepLevel
    """1 keeps the weights in host memory, 2 drops them and reads them again, stop ends the engine."""
    resident_bytes: int
    """What stays on each GPU while it sleeps."""
    host_bytes: int
    """Host memory for the weights of all its GPUs; 0 but at level 1."""
    sleep_seconds: float
    wake_seconds: float
    first_sleep_seconds: float
    """The first sleep of each process; at level 1 it pins the host memory."""


@dataclass(frozen=True)
class MemberPlan:
    """A model of a share group, as whoever gives out the device must know it."""

    model: str
    need_bytes: int
    """What it takes on each GPU of the group while awake, beyond what it keeps asleep."""
    keep_warm: bool
    level: SleepLevel | None
    """None for a member that is kept warm."""
    sleep_seconds: float
    """Predicted, and not of the first sleep; 0 for a member that is kept warm."""
    wake_seconds: float


@dataclass(frozen=True)
class GroupPlan:
    """Models that take turns on the same devices."""

    name: str
    gpus: tuple[int, ...]
    """GPU numbers; empty means the CPU."""
    capacity_bytes: int
    """What may be taken on each GPU by the members that are awake, counted as their *need_bytes*."""
    members: tuple[MemberPlan, ...]


Part = Literal["weights", "KV cache", "activations", "graphs", "context", "asleep"]


@dataclass(frozen=True)
class Segment:
    """A piece of one GPU's memory."""

    owner: str
    part: Part
    bytes: int


@dataclass(frozen=True)
class GpuPlan:
    """One GPU's memory, in pieces; of a share group the largest member is drawn awake."""

    number: int
    kind: str
    total_bytes: int
    segments: tuple[Segment, ...]

    @property
    def used_bytes(self) -> int:
        """Bytes that are given out."""
        return sum(segment.bytes for segment in self.segments)

    @property
    def free_bytes(self) -> int:
        """Bytes that nothing uses."""
        return self.total_bytes - self.used_bytes


@dataclass(frozen=True)
class Cost:
    """What the machine costs."""

    usd_per_hour: float
    region: str
    price_date: str
    tokens_per_second: float | None = None

    @property
    def usd_per_million_tokens(self) -> float | None:
        """Price of a million tokens at *tokens_per_second* around the clock; None without a rate."""
        if not self.tokens_per_second:
            return None
        return self.usd_per_hour / 3600 / self.tokens_per_second * 1e6


@dataclass(frozen=True)
class Plan:
    """A fleet that fits on a machine."""

    fleet: str
    machine: Machine
    replicas: tuple[ReplicaPlan, ...]
    gpus: tuple[GpuPlan, ...]
    host_bytes: int
    """Host memory that sleeping models and engines on the CPU need."""
    groups: tuple[GroupPlan, ...] = ()
    """Share groups, in the order of the spec."""
    cost: Cost | None = None
    notes: tuple[str, ...] = ()
    rejected: tuple[tuple[str, str], ...] = ()
    """Cheaper instance types and why the fleet does not fit there."""
