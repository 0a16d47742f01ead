"""What a scrape of the fleet's page costs the supervisor: CPU time for eight engines with a recorded page of vLLM.

    python scripts/bench_metrics.py [--engines 8] [--scrapes 100]

The engines are one other process that serves the recorded page on a Unix socket each, with other numbers every time.
`merging` is what happens once the pages are here; `a scrape` is all that the supervisor does, from the requests to
the finished page. `the first` is a scrape in which no page has been seen before.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from aiohttp import web

from tritonfleet.engines import adapter
from tritonfleet.metrics.merge import Changes, Page, Reader
from tritonfleet.metrics.names import older_in, renamed
from tritonfleet.spec.models import ModelSpec
from tritonfleet.supervisor.metrics import MetricsPage
from tritonfleet.supervisor.probe import EngineHttp
from tritonfleet.wire import Endpoint, FleetStatus, ModelStatus, ReplicaStatus

PAGE = Path(__file__).resolve().parents[1] / "tests" / "metrics" / "pages" / "vllm-0.32.prom"
MODEL = "llama2"


def with_number(page: str, number: int) -> str:
    """Return *page* with another value in every sample."""
    return re.sub(r"(?m)^([^#].*) \S+$", rf"\g<1> {number}.5", page)


def serve(sockets: Sequence[str], ready: Any) -> None:
    """Be all engines, until killed."""
    page = PAGE.read_text()
    pages = [with_number(page, number) for number in range(10)]
    asked = 0

    async def metrics(_: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        return web.Response(text=pages[asked // len(sockets) % len(pages)])

    async def run() -> None:
        app = web.Application()
        app.router.add_get("/metrics", metrics)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        for path in sockets:
            await web.UnixSite(runner, path).start()
        ready.set()
        await asyncio.Event().wait()

    asyncio.run(run())


class Fleet:
    """A fleet of one model with many replicas."""

    def __init__(self, sockets: Sequence[str]) -> None:
        engines = [SimpleNamespace(http=EngineHttp(Endpoint(uds=path))) for path in sockets]
        spec = ModelSpec(name=MODEL, source="demo://llama2")
        self._unit: Any = SimpleNamespace(spec=spec, adapter=adapter("vllm"), engines=engines)
        replicas = tuple(ReplicaStatus(number, "ready", "cpu", path) for number, path in enumerate(sockets))
        model = ModelStatus(MODEL, "vllm", spec.source, "ready", in_triton=True, replicas=replicas)
        # Nobody listens at Triton's port: the bridge's few lines are not what is measured.
        self._status = FleetStatus("bench", 1, "ready", 1.0, doors={"metrics": "127.0.0.1:1"}, models=(model,))

    def status(self) -> FleetStatus:
        """Return the same at all times."""
        return self._status

    def unit(self, _: str) -> Any:
        """Return the model."""
        return self._unit

    async def close(self) -> None:
        """Close the connections."""
        for engine in self._unit.engines:
            await engine.http.close()


def merging(count: int, scrapes: int) -> tuple[float, list[float]]:
    """Return the CPU milliseconds of the first merge and of the others."""
    pages = [with_number(PAGE.read_text(), number) for number in range(10)]
    names = renamed(adapter("vllm"))
    readers = [Reader(Changes({"fleet": "bench", "replica": str(number)}, names)) for number in range(count)]
    times = []
    for scrape in range(scrapes + 1):
        page = pages[scrape % len(pages)]
        started = time.process_time()
        merged = Page()
        for reader in readers:
            older_in(page)
            merged.add(reader.read(page))
        merged.text()
        times.append((time.process_time() - started) * 1000)
    return times[0], times[1:]


async def scraping(sockets: Sequence[str], scrapes: int) -> tuple[float, list[float], int]:
    """Return the CPU milliseconds of the first scrape and of the others, and the page's size in bytes."""
    fleet = Fleet(sockets)
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 10.0  # every page counts as old
        return now

    page = MetricsPage(fleet, lambda spec: spec.name, clock=clock)
    times = []
    text = ""
    for _ in range(scrapes + 1):
        started = time.process_time()
        text = await page.text()
        times.append((time.process_time() - started) * 1000)
    await page.close()
    await fleet.close()
    if text.count("vllm:num_requests_running{") != len(sockets):
        raise SystemExit("the page does not hold every engine; the measurement means nothing")
    return times[0], times[1:], len(text.encode())


def summary(first: float, times: Sequence[float]) -> dict[str, float]:
    """Return what is reported of one kind of work, in milliseconds of CPU."""
    return {
        "median_ms": round(statistics.median(times), 2),
        "p95_ms": round(statistics.quantiles(times, n=20)[-1], 2),
        "first_ms": round(first, 2),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", type=int, default=8)
    parser.add_argument("--scrapes", type=int, default=100)
    parser.add_argument("--most-ms", type=float, help="fail when the median of merging is above this")
    given = parser.parse_args(argv)
    process = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        sockets = [f"{folder}/{number}.sock" for number in range(given.engines)]
        ready = process.Event()
        engines = process.Process(target=serve, args=(sockets, ready), daemon=True)
        engines.start()
        try:
            ready.wait(30)
            first, times, size = asyncio.run(scraping(sockets, given.scrapes))
        finally:
            engines.kill()
            engines.join()
    merge = merging(given.engines, given.scrapes)
    found = {
        "engines": given.engines,
        "engine_page_bytes": PAGE.stat().st_size,
        "page_bytes": size,
        "merging": summary(*merge),
        "scrape": summary(first, times),
    }
    print(json.dumps(found, indent=2))
    return 1 if given.most_ms is not None and found["merging"]["median_ms"] > given.most_ms else 0


if __name__ == "__main__":
    sys.exit(main())
