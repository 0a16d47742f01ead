"""What Triton costs: one vLLM engine on the CPU, asked directly and through Triton's two doors, in one run.

`make bench` runs this. It brings a fleet of one demo model up, alternates the doors in rounds at 1, 8 and 32 streams,
prints the table and the goals, writes everything to bench-results/doors.json, and takes the fleet down. With
--write-docs the table goes into docs/performance.md too. Exit code 1 means that a goal was missed.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.progress import Progress

from tritonfleet.bench.compare import Load, Plan, Turn, compare, goals, rows
from tritonfleet.bench.cpu import OTHERS, CpuMeter
from tritonfleet.bench.doors import parse_endpoint
from tritonfleet.bench.engine_door import EngineDoor
from tritonfleet.bench.report import markdown, replace_section, table, to_json
from tritonfleet.bench.target import StreamDoor, Target
from tritonfleet.client import FleetClient, ModelInfo, parse_address
from tritonfleet.client.grpc_door import GrpcDoor
from tritonfleet.client.http_door import HttpDoor
from tritonfleet.errors import FleetError
from tritonfleet.wire import Endpoint, FleetStatus, load

ROOT = Path(__file__).resolve().parent.parent
BASE = "engine"
RATIO_GOAL = 0.95
TTFT_GOAL_SECONDS = 0.005
#: Requests of a round, chosen so that a turn of each load takes a few seconds on two cores.
LOADS = (Load(1, 8), Load(8, 32), Load(32, 96))
OUTPUT_TOKENS = 64
SECTION = "bench-doors"
#: docs/performance.md before its first measurement.
PAGE = f"""# Performance

Every number on this page comes from a script of this repository; each section says which.

## What Triton costs, on the CPU

`make bench` asks one engine in three ways: at its own HTTP server, and through Triton over gRPC and over HTTP. The
doors take turns in rounds, in every order, so that what slows the whole machine down slows all of them. The model is
so small that serving it costs more than running it: on a GPU, with a model of normal size, Triton's share is smaller.
CPU time is that of each group of processes: the engine, Triton with its stub, the supervisor, the client that
makes the load, and all other programs.

<!-- {SECTION}:begin -->
<!-- {SECTION}:end -->
"""
#: Other programs' use of the CPU, in cores, below which a comparison is worth keeping.
QUIET_CORES = 0.1


@dataclass(frozen=True)
class Addresses:
    """Where the same engine is to be met."""

    engine: Endpoint
    grpc: str
    http: str
    model: str
    pids: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Roots of the process groups whose CPU time is measured."""


def main() -> int:
    """Measure, print, write; return the exit code."""
    options = parse_options()
    console = Console(width=None if sys.stdout.isatty() else 200)
    with own_fleet(console) if options.engine is None else given(options) as addresses:
        plan = Plan(
            loads=LOADS,
            rounds=options.rounds,
            prompts=tuple((ROOT / "prompts.txt").read_text(encoding="utf-8").split("\n")[:-1]),
            sampling={"max_tokens": OUTPUT_TOKENS, "ignore_eos": True, "temperature": 0},
        )
        turns, versions = asyncio.run(measure(addresses, plan, console))
    about = {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "rounds": options.rounds,
        # Without the servers' process ids their work cannot be told from that of other programs.
        "other_cores": round(other_cores(turns), 2) if addresses.pids else None,
        **versions,
        **host(),
    }
    return report(turns, about, options, console)


def report(turns: list[Turn], about: Mapping[str, Any], options: argparse.Namespace, console: Console) -> int:
    """Print the comparison and write its files; return 1 if a goal was missed."""
    found = rows(turns, BASE)
    judged = goals(found, ratio=RATIO_GOAL, ttft_more_seconds=TTFT_GOAL_SECONDS)
    console.print(table(found))
    for goal in judged:
        console.print(f"[green]met[/]     {goal.text}" if goal.met else f"[red]missed[/]  {goal.text}", highlight=False)
    if about["other_cores"] and about["other_cores"] > QUIET_CORES:
        busy = f"other programs kept {about['other_cores']:.1f} of {about['cores']} cores busy meanwhile"
        console.print(f"[yellow]{busy}: do not trust these numbers[/]", highlight=False)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(to_json(found, judged, turns, about), indent=1) + "\n", encoding="utf-8")
    console.print(f"everything measured: {options.out}")
    if options.write_docs:
        write_docs(ROOT / "docs/performance.md", markdown(found, judged, setting(about)))
    return 0 if all(goal.met for goal in judged) else 1


def parse_options() -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--rounds",
        type=int,
        default=6,
        help="rounds for each load; a multiple of 6 gives each door each place as often (default 6)",
    )
    parser.add_argument("--out", type=Path, default=ROOT / "bench-results/doors.json", help="JSON result")
    parser.add_argument("--write-docs", action="store_true", help="put the table into docs/performance.md")
    parser.add_argument("--engine", help="unix:PATH or HOST:PORT of an engine that runs already, with the next three")
    parser.add_argument("--grpc", default="localhost:8001", help="its Triton's gRPC address")
    parser.add_argument("--http", default="localhost:8000", help="its Triton's HTTP address")
    parser.add_argument("--model-name", default="llama2", help="its name in Triton")
    return parser.parse_args()


async def measure(addresses: Addresses, plan: Plan, console: Console) -> tuple[list[Turn], dict[str, str]]:
    """Run the comparison with a progress bar; return the turns and what was measured."""
    engine = EngineDoor(addresses.engine)
    grpc, http = parse_address(addresses.grpc, "grpc"), parse_address(addresses.http, "http")
    doors: dict[str, StreamDoor] = {BASE: engine, "triton-grpc": GrpcDoor(grpc), "triton-http": HttpDoor(http)}
    meter = CpuMeter({**addresses.pids, "client": (os.getpid(),)})
    try:
        async with FleetClient(grpc) as client:
            info = await client.model_info(addresses.model)
        own = ModelInfo(await engine.served_name(), frozenset({"text_input"}), {})
        targets = [Target(name, door, own if name == BASE else info) for name, door in doors.items()]
        # A collection pause in this process would be booked on whichever door has its turn.
        gc.collect()
        gc.freeze()
        with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
            bar = progress.add_task("comparing", total=len(LOADS) * len(targets) * plan.rounds)

            def on_turn(turn: Turn) -> None:
                text = f"{turn.streams} streams, round {turn.number + 1} of {plan.rounds}: {turn.door}"
                progress.update(bar, advance=1, description=text)
                if not console.is_terminal:
                    console.print(f"{text}, {turn.seconds:.2f} s", highlight=False)

            turns = await compare(targets, plan, meter.lap, on_turn)
        return turns, {"engine": await engine.version()}
    finally:
        for door in doors.values():
            await door.close()


@contextmanager
def own_fleet(console: Console) -> Iterator[Addresses]:
    """Bring up a fleet of one model on free ports and take it down afterwards."""
    ports = dict(zip(("http", "grpc", "metrics", "openai"), free_ports(4), strict=True))
    with tempfile.TemporaryDirectory(prefix="tritonfleet-bench-") as folder:
        spec = Path(folder) / "fleet.yaml"
        spec.write_text(
            yaml.safe_dump(
                {
                    "name": "bench",
                    "models": [{"name": "llama2", "source": "demo://llama2", "devices": "cpu"}],
                    "doors": {name: {"port": port} for name, port in ports.items()},
                }
            ),
            encoding="utf-8",
        )
        where = [str(spec), "--state", str(Path(folder) / "state")]
        command = [sys.executable, "-m", "tritonfleet"]
        try:
            with console.status("bringing the fleet up"):
                subprocess.run([*command, "up", *where, "--detach"], check=True, stdout=subprocess.DEVNULL)
            done = subprocess.run([*command, "status", *where, "--json"], check=True, stdout=subprocess.PIPE)
            yield from_status(load(FleetStatus, json.loads(done.stdout)))
        finally:
            subprocess.run([*command, "down", *where], check=False, stdout=subprocess.DEVNULL)


def from_status(status: FleetStatus) -> Addresses:
    """Return the addresses of the only model of a fleet."""
    replica = status.models[0].replicas[0]
    pids = {"engine": (replica.pid or 0,), "triton": (status.triton_pid or 0,), "supervisor": (status.pid,)}
    return Addresses(
        engine=parse_endpoint(replica.endpoint),
        grpc=status.doors["grpc"],
        http=status.doors["http"],
        model=status.models[0].model,
        pids=pids,
    )


@contextmanager
def given(options: argparse.Namespace) -> Iterator[Addresses]:
    """Return the addresses of the command line; nothing is started or stopped."""
    yield Addresses(parse_endpoint(options.engine), options.grpc, options.http, options.model_name)


def free_ports(count: int) -> list[int]:
    """Return loopback ports that are free now."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def host() -> dict[str, str | int]:
    """Return what the numbers depend on."""
    return {"cores": len(os.sched_getaffinity(0)), "machine": platform.machine(), "python": platform.python_version()}


def other_cores(turns: list[Turn]) -> float:
    """Return how many cores programs that have no part in the measurement kept busy, on average."""
    return sum(turn.cpu_seconds[OTHERS] for turn in turns) / sum(turn.seconds for turn in turns)


def setting(about: Mapping[str, Any]) -> str:
    """Return the sentences that stand above the table."""
    loads = ", ".join(f"{load.requests} requests at {load.streams} streams" for load in LOADS)
    return (
        f"Measured on {about['made'][:10]} by `make bench` on {about['cores']} cores ({about['machine']}), "
        f"{about['engine']}, demo model `llama2`, {OUTPUT_TOKENS} output tokens a request, streaming; "
        f"{about['rounds']} rounds of {loads} for each door. Other programs kept {about['other_cores']} cores busy "
        "meanwhile. Ratios and differences are medians over the rounds, with the 95 % interval of the bootstrap."
    )


def write_docs(path: Path, text: str) -> None:
    """Put *text* into the section of *path* that is kept for it; write the page if there is none."""
    document = path.read_text(encoding="utf-8") if path.exists() else PAGE
    path.write_text(replace_section(document, SECTION, text), encoding="utf-8")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (FleetError, subprocess.CalledProcessError) as err:
        print(f"error: {err}", file=sys.stderr)
        sys.exit(2)
