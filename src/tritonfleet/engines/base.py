"""The contract of an engine adapter: it describes an engine, it never runs one.

An adapter says which command to start, in which environment, where the engine will listen, how to ask whether it
is ready, what its metrics are called and how it sleeps and wakes. The supervisor acts on that. An adapter must not
open files or sockets, start processes, or read ``os.environ``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from tritonfleet.spec.models import ModelSpec
from tritonfleet.wire import Endpoint

#: The same meaning under each engine's own metric name.
Meaning = Literal[
    "running",  # gauge, requests being processed
    "waiting",  # gauge, requests queued in the engine
    "kv_cache_usage",  # gauge, 0..1
    "prompt_tokens",  # counter
    "generated_tokens",  # counter
    "ttft_seconds",  # histogram
    "inter_token_seconds",  # histogram
    "request_seconds",  # histogram
    "queue_seconds",  # histogram
    "prefill_seconds",  # histogram
    "decode_seconds",  # histogram
    "finished",  # counter, requests
    "prefix_hits",  # counter, tokens
    "prefix_queries",  # counter, tokens
]


@dataclass(frozen=True)
class Runtime:
    """An environment that can run one kind of program, found on the machine or built by us."""

    kind: str
    """``triton``, ``vllm``, ``vllm-cpu``, ``tensorrt-llm``, ``sglang`` or ``llamacpp``."""
    version: str
    """Version of the main program, for example ``0.32.0``."""
    executable: Path
    """Python of the environment for Python engines, else the program itself."""
    origin: Literal["installed", "found", "given"]
    """Built by ``tritonfleet runtime install``, found on the machine, or named in the spec."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Environment variables that the program needs (added to the child's environment)."""
    paths: Mapping[str, Path] = field(default_factory=dict)
    """Further folders: for Triton ``backends``, ``stub_python``; empty for engines."""


@dataclass(frozen=True)
class Launch:
    """Everything that an adapter may look at to describe one engine process."""

    model: ModelSpec
    model_path: Path | str
    """Local folder of the weights, or a Hub id that the engine downloads itself."""
    lora_paths: Mapping[str, Path]
    """Adapter name to local folder."""
    endpoint: Endpoint
    """Where the engine must listen; a Unix socket only if ``adapter.unix_socket``."""
    runtime: Runtime
    gpus: tuple[int, ...]
    """GPU numbers of this replica; empty means the CPU."""
    cpu_cores: tuple[int, ...] = ()
    """Cores that a CPU engine may use; empty means all."""
    memory_share: float | None = None
    """Part of each GPU's memory that the engine may take, unless engine_args say otherwise; None means its default."""
    sleeps: bool = False
    """Whether the engine will be asked to sleep and wake."""


@dataclass(frozen=True)
class Command:
    """A process to start."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    """Added to, and overriding, the supervisor's own environment."""
    children_compute: bool = False
    """Whether its child processes keep cores busy that the servers need too; they are run at a lower priority."""


@dataclass(frozen=True)
class Call:
    """An HTTP request to the engine."""

    method: Literal["GET", "POST"]
    path: str
    """Path with its query."""
    body: str = ""
    """JSON text; empty for none."""


class EngineAdapter(Protocol):
    """One engine's ways."""

    name: str
    """Name in the spec."""
    runtime_kinds: tuple[str, ...]
    """Runtimes that can run it on a GPU machine, best first; see ``runtime_kind``."""
    unix_socket: bool
    """Whether the engine can listen on a Unix socket."""
    health: Call
    """Answers 200 once requests are served."""
    metrics: Call
    """Prometheus text."""
    metric_names: Mapping[Meaning, str]
    """The engine's own names, without ``_total`` or ``_bucket`` endings left out: exactly as exposed."""

    def runtime_kind(self, *, on_cpu: bool) -> str:
        """Return the runtime that is needed on this kind of device; raise UsageError if there is none."""
        ...

    def command(self, launch: Launch) -> Command:
        """Return the process that serves *launch*; raise UsageError naming an option that cannot be honoured."""
        ...

    def sleep(self, level: int) -> Call | None:
        """Return the call that frees the device's memory, or None if the engine cannot."""
        ...

    def wake(self, level: int = 1) -> tuple[Call, ...]:
        """Return the calls that end a sleep of *level*, one after the other; none if the engine cannot sleep."""
        ...
