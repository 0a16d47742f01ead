"""The gateway's command line, written and read in one place."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from tritonfleet.spec.models import Door, GatewaySpec, TracingSpec
from tritonfleet.tracing.settings import traces_url

#: Cores for each worker when their number is left to the gateway: one worker passes on more tokens than the engines
#: of a machine with this many cores make.
CORES_PER_WORKER = 8
MOST_WORKERS = 8


@dataclass(frozen=True)
class GatewayOptions:
    """Everything a gateway is started with; each field is the option of the same name."""

    control: str
    """The supervisor's control socket."""
    fleet: str = ""
    """The fleet's name, for the metrics."""
    traces: str | None = None
    """Where spans go, OTLP over HTTP; None: nowhere."""
    trace_ratio: float = 1.0
    """Share of the requests without a trace of their own that begin one."""
    host: str = "127.0.0.1"
    port: int = 9000
    workers: int = 1
    keys: str | None = None
    """The file of API keys; None: nobody needs one."""
    admin_token: str | None = None
    """The file of the token that manages the fleet from this machine; None: there is none."""
    max_running: int = 1024
    max_waiting: int = 1024
    max_wait_seconds: float = 60.0
    hold_seconds: float = 0.0
    max_body_bytes: int = 64 * 2**20
    max_held_bytes: int = 2**30
    header_seconds: float = 15.0
    idle_seconds: float = 75.0
    stall_seconds: float = 120.0
    engine_silence_seconds: float = 600.0
    drain_seconds: float = 60.0


@dataclass(frozen=True)
class WorkerPlace:
    """What a worker is told by the gateway that started it."""

    board: Path
    """File of the shared counts."""
    worker: int
    """Its number, from 0."""


def options_of(
    spec: GatewaySpec,
    door: Door,
    *,
    fleet: str = "",
    control: str,
    keys: str,
    admin_token: str,
    drain_seconds: float,
    cores: int,
    tracing: TracingSpec | None = None,
) -> GatewayOptions:
    """Return the options of a fleet's gateway."""
    return GatewayOptions(
        control=control,
        fleet=fleet,
        traces=None if tracing is None else traces_url(tracing),
        trace_ratio=1.0 if tracing is None else tracing.sample_ratio,
        host=door.host,
        port=door.port,
        workers=spec.workers if spec.workers != "auto" else default_workers(cores),
        keys=None if spec.keys == "off" else keys,
        admin_token=admin_token,
        max_running=spec.max_running,
        max_waiting=spec.max_waiting,
        max_wait_seconds=spec.max_wait_seconds,
        hold_seconds=spec.hold_seconds,
        max_body_bytes=spec.max_body_bytes,
        max_held_bytes=spec.max_held_bytes,
        header_seconds=spec.header_seconds,
        idle_seconds=spec.idle_seconds,
        stall_seconds=spec.stall_seconds,
        engine_silence_seconds=spec.engine_silence_seconds,
        drain_seconds=drain_seconds,
    )


def default_workers(cores: int) -> int:
    """Return how many workers suit a machine."""
    return min(MOST_WORKERS, max(1, cores // CORES_PER_WORKER))


def command(options: GatewayOptions) -> tuple[str, ...]:
    """Return the argv of a gateway; defaults are left out."""
    argv = [sys.executable, "-m", "tritonfleet.gateway"]
    for field in fields(GatewayOptions):
        value = getattr(options, field.name)
        if value is not None and value != field.default:
            argv += [f"--{field.name.replace('_', '-')}", str(value)]
    return tuple(argv)


def parse_worker(argv: Sequence[str] | None = None) -> tuple[GatewayOptions, WorkerPlace | None]:
    """Read the command line; a wrong one ends the process with status 2, as argparse does.

    The second value is None for the gateway itself, else this process is one of its workers.
    """
    values = vars(_parser().parse_args(argv))
    options = GatewayOptions(**{field.name: values[field.name] for field in fields(GatewayOptions)})
    board = values["board"]
    return options, None if board is None else WorkerPlace(Path(board), values["worker"])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tritonfleet.gateway",
        description="The OpenAI door of a fleet that is up.",
        allow_abbrev=False,
    )
    default = GatewayOptions(control="")
    texts: dict[str, tuple[Any, str]] = {
        "fleet": (str, "the fleet's name, for the metrics"),
        "traces": (str, "address for spans, OTLP over HTTP"),
        "trace_ratio": (float, "share of the requests without a trace of their own that begin one"),
        "host": (str, "address to listen on"),
        "port": (_count, "TCP port to listen on"),
        "workers": (_count, "processes that share the work"),
        "keys": (str, "file of API keys; without it nobody needs one"),
        "admin_token": (str, "file of the token that manages the fleet from this machine"),
        "max_running": (_count, "requests at one engine at once; others wait here"),
        "max_waiting": (_count, "requests of one model that may wait here; others get 429"),
        "max_wait_seconds": (_seconds, "longest wait before a request gets 429"),
        "hold_seconds": (_maybe_seconds, "longest wait for a model that has no replica; 0 answers at once"),
        "max_body_bytes": (_count, "largest request body"),
        "max_held_bytes": (_count, "bytes of all request bodies that are held at once, in each worker"),
        "header_seconds": (_seconds, "longest time for a request's headers to come"),
        "idle_seconds": (_seconds, "time after which an unused connection is closed"),
        "stall_seconds": (_seconds, "longest time for a client to send no more of a body, or to read nothing"),
        "engine_silence_seconds": (_seconds, "longest time for an engine to send nothing"),
        "drain_seconds": (_seconds, "longest time for running requests to finish after SIGTERM"),
    }
    parser.add_argument("--control", required=True, metavar="SOCKET", help="the supervisor's control socket")
    parser.add_argument("--board", help=argparse.SUPPRESS)
    parser.add_argument("--worker", type=int, default=0, help=argparse.SUPPRESS)
    for name, (kind, text) in texts.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=getattr(default, name), help=text)
    return parser


def _count(text: str) -> int:
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is less than 1")
    return value


def _maybe_seconds(text: str) -> float:
    if not (value := float(text)) >= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is less than 0")
    return value


def _seconds(text: str) -> float:
    if not (value := float(text)) > 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not more than 0")
    return value
