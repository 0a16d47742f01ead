"""Small engines with a page of metrics, and a fleet of them, for tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from tritonfleet.engines import adapter
from tritonfleet.spec.models import ModelSpec
from tritonfleet.supervisor.metrics import MetricsPage
from tritonfleet.supervisor.probe import EngineHttp
from tritonfleet.supervisor.unit import ModelUnit
from tritonfleet.wire import Endpoint, FleetStatus, ModelState, ModelStatus, ReplicaStatus

VLLM_PAGE = (Path(__file__).parent / "pages" / "vllm-0.32.prom").read_text()

Sample = tuple[str, dict[str, str], float]


@dataclass
class FakeEngine:
    """What a unit has as an engine, as far as metrics go."""

    endpoint: Endpoint
    http: EngineHttp
    state: ModelState = "ready"
    page: str = VLLM_PAGE
    status: int = 200
    hangs: bool = False
    asked: int = 0

    async def answer(self, _: web.Request) -> web.Response:
        """Answer a scrape, or never."""
        self.asked += 1
        if self.hangs:
            await asyncio.Event().wait()
        return web.Response(text=self.page, status=self.status)


@dataclass
class FakeFleet:
    """A fleet whose parts a test sets."""

    units: dict[str, ModelUnit] = field(default_factory=dict)
    triton_port: int = 1

    def status(self) -> FleetStatus:
        """Return the state of everything."""
        models = tuple(_model(unit) for unit in self.units.values())
        doors = {"metrics": f"127.0.0.1:{self.triton_port}"}
        return FleetStatus("demo", 1, "ready", 1.0, doors=doors, triton_state="ready", models=models)

    def unit(self, name: str) -> ModelUnit:
        """Return one model."""
        return self.units[name]


@dataclass
class Unit:
    """A model as far as metrics go."""

    spec: ModelSpec
    adapter: Any
    engines: Sequence[FakeEngine]
    devices: Sequence[str]


def _model(unit: ModelUnit) -> ModelStatus:
    replicas = tuple(
        ReplicaStatus(number, engine.state, device, str(engine.endpoint), restarts=2, ready_seconds=4.5)
        for number, (engine, device) in enumerate(zip(unit.engines, unit.devices, strict=True))
    )
    return ModelStatus(unit.spec.name, unit.spec.engine, unit.spec.source, "ready", in_triton=True, replicas=replicas)


class Stage:
    """Serves engines and makes the page."""

    def __init__(self, folder: Path) -> None:
        self.fleet = FakeFleet()
        self._folder = folder
        self._runners: list[web.AppRunner] = []
        self._clients: list[EngineHttp] = []

    async def model(self, name: str, replicas: int = 1, engine: Any = "vllm", **spec: Any) -> list[FakeEngine]:
        """Add a model; return its engines."""
        engines = [await self._engine(f"{name}-{number}") for number in range(replicas)]
        model = ModelSpec(name=name, source="demo://llama2", engine=engine, **spec)
        unit = Unit(model, adapter(engine), engines, [f"gpu {number}" for number in range(replicas)])
        self.fleet.units[name] = cast("ModelUnit", unit)
        return engines

    async def triton(self, page: str) -> None:
        """Serve Triton's metrics port."""
        self.fleet.triton_port = await self._serve_tcp(page)

    @asynccontextmanager
    async def page(self, **options: Any) -> AsyncIterator[MetricsPage]:
        """Return the page of the fleet, made anew each time it is asked for."""
        ticks = iter(range(0, 1_000_000, 100))
        options.setdefault("clock", lambda: float(next(ticks)))
        made = MetricsPage(self.fleet, lambda spec: spec.pool or spec.name, **options)
        try:
            yield made
        finally:
            await made.close()

    async def close(self) -> None:
        """Stop serving."""
        for client in self._clients:
            await client.close()
        for runner in self._runners:
            await runner.cleanup()

    async def _engine(self, name: str) -> FakeEngine:
        path = str(self._folder / f"{name}.sock")
        endpoint = Endpoint(uds=path)
        engine = FakeEngine(endpoint, EngineHttp(endpoint))
        self._clients.append(engine.http)
        runner = await self._runner(engine.answer)
        await web.UnixSite(runner, path).start()
        return engine

    async def _serve_tcp(self, page: str) -> int:
        async def answer(_: web.Request) -> web.Response:
            return web.Response(text=page)

        runner = await self._runner(answer)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return int(runner.addresses[0][1])

    async def _runner(self, answer: Callable[[web.Request], Any]) -> web.AppRunner:
        app = web.Application()
        app.router.add_get("/metrics", answer)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        self._runners.append(runner)
        return runner


def samples(page: str, name: str) -> list[Sample]:
    """Return the samples of the series called *name*, read by Prometheus' own client library."""
    return [
        (sample.name, dict(sample.labels), sample.value)
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == name
    ]


def value(page: str, name: str, **labels: str) -> float:
    """Return the one sample of that name that has these labels."""
    [found] = [number for _, own, number in samples(page, name) if labels.items() <= own.items()]
    return found
