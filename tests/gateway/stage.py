"""A gateway on a port of its own, in front of fake engines, under a scripted supervisor; all in one process."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from tests.desk import ScriptedGroup
from tests.ports import free_port
from tritonfleet.fake_engine.engine import Engine
from tritonfleet.fake_engine.options import Options
from tritonfleet.fake_engine.server import Server
from tritonfleet.gateway.board import Board
from tritonfleet.gateway.command import GatewayOptions
from tritonfleet.gateway.server import build_server, listen
from tritonfleet.wire import Endpoint, Route, dump


class FakeSupervisor:
    """Serves routes that a test sets, as the control socket does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.revision = 0
        self.routes: list[Route] = []
        self.polls = 0
        self.group = ScriptedGroup()
        """Gives leases of models that share a device."""
        self._changed = asyncio.Condition()
        self._runner: web.AppRunner | None = None

    async def start(self, more: Callable[[web.Application], None] | None = None) -> None:
        app = web.Application()
        app.router.add_get("/v1/routes", self._serve)
        self.group.add_to(app)
        if more is not None:
            more(app)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        await web.UnixSite(self._runner, str(self.path)).start()

    async def set(self, *routes: Route) -> None:
        async with self._changed:
            self.routes = list(routes)
            self.revision += 1
            self._changed.notify_all()

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        self.path.unlink(missing_ok=True)

    async def _serve(self, request: web.Request) -> web.Response:
        self.polls += 1
        after = int(request.query["after"])
        async with self._changed:
            await self._changed.wait_for(lambda: self.revision > after)
        body = f'{{"revision":{self.revision},"routes":[{",".join(map(dump, self.routes))}]}}'
        return web.Response(text=body, content_type="application/json")


class FakeReplica:
    """An engine of the fake kind on a Unix socket, with its insides open."""

    def __init__(self, path: Path, options: Options) -> None:
        self.path = path
        self.engine = Engine(replace(options, uds=str(path)))
        self.bodies: list[Any] = []
        self.headers: list[dict[str, str]] = []
        self._runner: web.AppRunner | None = None

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(uds=str(self.path))

    @property
    def running(self) -> int:
        return self.engine.scheduler.running

    @property
    def finished(self) -> dict[str, int]:
        return dict(self.engine.metrics.finished)

    async def start(self, app: web.Application | None = None) -> None:
        app = app or Server(self.engine).application()
        app.middlewares.append(self._record)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.UnixSite(self._runner, str(self.path)).start()

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        self.path.unlink(missing_ok=True)

    @web.middleware
    async def _record(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if request.method == "POST":
            raw = await request.read()
            self.bodies.append(json.loads(raw) if raw else None)
            names = [name.lower() for name in request.headers]
            assert len(names) == len(set(names)), f"a header came twice: {names}"
            self.headers.append({name.lower(): value for name, value in request.headers.items()})
        answer: web.StreamResponse = await handler(request)
        return answer


class Stage:
    """Everything around one gateway."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.supervisor = FakeSupervisor(folder / "control.sock")
        self.replicas: list[FakeReplica] = []
        self.url = ""
        self.session: aiohttp.ClientSession

    async def engine(self, name: str = "llama2", app: web.Application | None = None, **options: Any) -> FakeReplica:
        """Start a fake engine."""
        replica = FakeReplica(self.folder / f"e{len(self.replicas)}.sock", Options(model=name, **options))
        await replica.start(app)
        self.replicas.append(replica)
        return replica

    async def serve(self, *replicas: FakeReplica, model: str = "llama2", **fields: Any) -> None:
        """Make these the replicas of one model, the only one."""
        await self.supervisor.set(self.route(*replicas, model=model, **fields))

    @staticmethod
    def route(*replicas: FakeReplica, model: str = "llama2", **fields: Any) -> Route:
        return Route(model, "fake", model, tuple(replica.endpoint for replica in replicas), **fields)

    @asynccontextmanager
    async def gateway(self, *, known: bool = True, **options: Any) -> AsyncIterator[Stage]:
        """Run a gateway that knows the routes; its port is in ``url``."""
        port = free_port()
        given = GatewayOptions(control=str(self.supervisor.path), port=port, **{"drain_seconds": 5.0, **options})
        board = Board(None)
        server = build_server(given, board)
        ended = asyncio.Event()

        async def until_ended() -> None:  # uvicorn's own loop looks ten times a second
            await ended.wait()

        server.main_loop = until_ended  # type: ignore[method-assign]
        with listen(given.host, port) as listener:
            running = asyncio.create_task(server.serve(sockets=[listener]))
            self.url = f"http://127.0.0.1:{port}"
            try:
                async with aiohttp.ClientSession(self.url) as self.session:
                    if known:
                        await self.until_known()
                    yield self
            finally:
                server.should_exit = True
                ended.set()
                await running
        board.close()

    async def until_known(self) -> None:
        """Wait until the gateway has taken the routes that are set now."""
        wanted = {route.model: route.state for route in self.supervisor.routes}
        while True:
            try:
                async with self.session.get("/health") as answer:
                    if (await answer.json())["models"] == wanted:
                        return
            except aiohttp.ClientConnectionError:
                pass
            await asyncio.sleep(0.01)

    async def post(self, body: Any, path: str = "/v1/completions", **options: Any) -> tuple[int, Any, dict[str, str]]:
        """Send JSON; return status, decoded answer and headers."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with self.session.post(path, data=io.BytesIO(raw), **options) as answer:
            text = await answer.text()
            decoded = json.loads(text) if answer.content_type == "application/json" else text
            return answer.status, decoded, {name.lower(): value for name, value in answer.headers.items()}

    async def metric(self, line: str) -> float:
        """Return the value of one line of /metrics, written without the fleet's label; 0 when it is missing."""
        async with self.session.get("/metrics") as answer:
            for found in (await answer.text()).splitlines():
                name, _, value = found.rpartition(" ")
                if name.replace('{fleet="",', "{") == line:
                    return float(value)
        return 0.0

    async def until_metric(self, line: str, value: float) -> None:
        """Wait until one line of /metrics has this value."""
        async with asyncio.timeout(10):
            while await self.metric(line) != value:  # noqa: ASYNC110 - a counter has no event
                await asyncio.sleep(0.01)

    async def close(self) -> None:
        for replica in self.replicas:
            await replica.close()
        await self.supervisor.close()


async def eventually(check: Any, seconds: float = 10.0) -> None:
    """Wait until *check* is true; what is looked at has no event of its own."""
    async with asyncio.timeout(seconds):
        while not check():  # noqa: ASYNC110 - nothing to wait on
            await asyncio.sleep(0.005)
