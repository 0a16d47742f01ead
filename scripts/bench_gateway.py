"""What the gateway costs: CPU seconds per 1,000 streamed chunks, against asking the same fake engine directly.

    python scripts/bench_gateway.py [--streams 32] [--tokens 200] [--rounds 3]

The fake engine sends its chunks without a pause, so the engine, the gateway and this client share the machine's
cores; CPU time, unlike speed, does not mind. Also reported: the CPU time of one short request, answered whole.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import psutil
from aiohttp import web

from tritonfleet.gateway import GatewayOptions, command
from tritonfleet.gateway.head import model_of, read_head
from tritonfleet.wire import Endpoint, Route, dump


@dataclass(frozen=True)
class Cost:
    """What a load took."""

    chunks: int
    requests: int
    wall_seconds: float
    cpu_seconds: float
    """Of the gateway."""


async def supervisor(path: Path, route: Route) -> web.AppRunner:
    """Serve one route as the control socket does."""

    async def routes(request: web.Request) -> web.Response:
        if int(request.query["after"]) >= 1:
            await asyncio.Event().wait()
        return web.Response(text=f'{{"revision":1,"routes":[{dump(route)}]}}', content_type="application/json")

    app = web.Application()
    app.router.add_get("/v1/routes", routes)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.UnixSite(runner, str(path)).start()
    return runner


async def load(
    session: aiohttp.ClientSession, url: str, *, streams: int, requests: int, tokens: int, stream: bool
) -> int:
    """Send *requests* over *streams* connections; return the chunks that came."""
    body = json.dumps(
        {
            "model": "m",
            "messages": [{"role": "user", "content": "word " * 200}],
            "max_tokens": tokens,
            "ignore_eos": True,
            "stream": stream,
        }
    ).encode()
    left = iter(range(requests))
    chunks = 0

    async def worker() -> None:
        nonlocal chunks
        for _ in left:
            async with session.post(f"{url}/v1/chat/completions", data=body) as answer:
                answer.raise_for_status()
                async for data in answer.content.iter_any():
                    chunks += data.count(b"data: ") if stream else 0

    await asyncio.gather(*(worker() for _ in range(streams)))
    return chunks


def scan_seconds() -> float:
    """Return the best of five times for finding the model behind an image of 20 MB."""
    body = b'{"messages":[{"role":"user","content":"' + b"A" * 20_000_000 + b'"}],"model":"m"}'
    times = []
    for _ in range(5):
        started = time.perf_counter()
        assert model_of(read_head(body)) == "m"
        times.append(time.perf_counter() - started)
    return min(times)


def cpu(pids: Sequence[int]) -> float:
    """Return the CPU seconds that processes and their children took so far."""
    total = 0.0
    for pid in pids:
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            times = one.cpu_times()
            total += times.user + times.system
    return total


async def measure(
    session: aiohttp.ClientSession, url: str, pid: int | None, arguments: argparse.Namespace, *, stream: bool
) -> Cost:
    """Put the load on *url* and return what it took."""
    requests = arguments.requests if stream else 4 * arguments.requests
    before, started = cpu([pid]) if pid else 0.0, time.monotonic()
    chunks = await load(
        session,
        url,
        streams=arguments.streams,
        requests=requests,
        tokens=arguments.tokens if stream else 1,
        stream=stream,
    )
    return Cost(chunks, requests, time.monotonic() - started, (cpu([pid]) if pid else 0.0) - before)


async def ready(session: aiohttp.ClientSession, url: str) -> None:
    """Wait until the gateway serves."""
    while True:
        try:
            async with session.get(f"{url}/health") as answer:
                if answer.status == 200:
                    return
        except aiohttp.ClientConnectionError:
            pass
        await asyncio.sleep(0.05)


async def run(arguments: argparse.Namespace, folder: Path) -> None:
    """Start everything, measure, print."""
    engine_socket, control = folder / "engine.sock", folder / "control.sock"
    engine_argv = [sys.executable, "-m", "tritonfleet.fake_engine", "--uds", str(engine_socket), "--model", "m"]
    engine_argv += ["--tpot-ms", str(arguments.tpot_ms), "--max-running", "4096"]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    runner = await supervisor(control, Route("m", "fake", "m", (Endpoint(uds=str(engine_socket)),)))
    engine = await asyncio.create_subprocess_exec(*engine_argv, stderr=asyncio.subprocess.DEVNULL)
    argv = command(GatewayOptions(control=str(control), port=port, workers=arguments.workers))
    gateway = await asyncio.create_subprocess_exec(*argv, stderr=asyncio.subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as through,
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(engine_socket), limit=0)) as direct,
        ):
            await ready(through, url)
            await ready(direct, "http://engine")
            titles = ("chunks/s", "requests/s", "CPU s", "ms/1000 chunks", "us/request")
            print(" " * 16 + "".join(f"{title:>16}" for title in titles))
            for number in range(arguments.rounds):
                for name, session, base, pid in (
                    ("direct", direct, "http://engine", None),
                    ("gateway", through, url, gateway.pid),
                ):
                    whole = await measure(session, base, pid, arguments, stream=False)
                    streamed = await measure(session, base, pid, arguments, stream=True)
                    each = whole.cpu_seconds / whole.requests
                    chunk = (streamed.cpu_seconds - each * streamed.requests) / streamed.chunks
                    values = (
                        streamed.chunks / streamed.wall_seconds,
                        whole.requests / whole.wall_seconds,
                        streamed.cpu_seconds,
                        chunk * 1e6,
                        each * 1e6,
                    )
                    print(f"{name:8} {number:<7}" + "".join(f"{value:16.1f}" for value in values), flush=True)
    finally:
        gateway.terminate()
        engine.kill()
        await gateway.wait()
        await engine.wait()
        await runner.cleanup()


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=32)
    parser.add_argument("--requests", type=int, default=128)
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--tpot-ms", type=float, default=0.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1)
    print(f"model found behind 20 MB in {scan_seconds() * 1e3:.1f} ms")
    with tempfile.TemporaryDirectory(prefix="tfb") as folder:
        asyncio.run(run(parser.parse_args(), Path(folder)))


if __name__ == "__main__":
    main()
