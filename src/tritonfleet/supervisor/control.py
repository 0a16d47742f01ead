"""The supervisor's HTTP server on its Unix socket; the routes are described in ``wire``."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

from tritonfleet.errors import FleetError, UsageError
from tritonfleet.leases import PATH as LEASES
from tritonfleet.metrics.text import CONTENT_TYPE
from tritonfleet.supervisor.lease_desk import LeaseDesk
from tritonfleet.supervisor.process import tail
from tritonfleet.wire import dump

if TYPE_CHECKING:
    from tritonfleet.supervisor.fleet import Fleet

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

MAX_LOG_LINES = 10_000


class ControlServer:
    """Serves one fleet's control socket."""

    def __init__(self, fleet: Fleet, socket: Path) -> None:
        self._fleet = fleet
        self._socket = socket
        self._desk = LeaseDesk(fleet.group_of)
        app = web.Application(middlewares=[_errors])
        app.router.add_post("/v1/bridge/acquire", self._acquire)
        app.router.add_post("/v1/bridge/release", self._release)
        app.router.add_get("/v1/routes", self._routes)
        app.router.add_get("/v1/status", self._status)
        app.router.add_get("/v1/models/{name}", self._model)
        app.router.add_post("/v1/models/{name}/load", self._load)
        app.router.add_post("/v1/models/{name}/unload", self._unload)
        app.router.add_post("/v1/models/{name}/sleep", self._sleep)
        app.router.add_post("/v1/models/{name}/wake", self._wake)
        app.router.add_get("/v1/share", self._share)
        app.router.add_get(LEASES, self._desk.serve)
        app.router.add_get("/v1/history", self._history)
        app.router.add_get("/v1/memory", self._memory)
        app.router.add_get("/v1/logs/{name}", self._logs)
        app.router.add_get("/v1/metrics", self._metrics)
        app.router.add_post("/v1/stop", self._stop)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)

    async def start(self) -> None:
        """Listen; only the user of the fleet may connect."""
        await self._runner.setup()
        await web.UnixSite(self._runner, str(self._socket)).start()
        self._socket.chmod(0o600)

    async def close(self) -> None:
        """Stop listening and remove the socket."""
        await self._desk.close()
        await self._runner.cleanup()
        self._socket.unlink(missing_ok=True)

    async def _acquire(self, request: web.Request) -> web.Response:
        body = await _body(request)
        route = await self._fleet.acquire(str(body["model"]), str(body["version"]), Path(str(body["model_dir"])))
        return _json(dump(route))

    async def _release(self, request: web.Request) -> web.Response:
        body = await _body(request)
        self._fleet.release(str(body["model"]))
        return _json("{}")

    async def _routes(self, request: web.Request) -> web.Response:
        after = int(request.query.get("after", "-1"))
        revision, routes = await self._fleet.routes_after(after)
        return _json(f'{{"revision":{revision},"routes":[{",".join(map(dump, routes))}]}}')

    async def _status(self, _: web.Request) -> web.Response:
        return _json(dump(self._fleet.status()))

    async def _model(self, request: web.Request) -> web.Response:
        return _json(dump(self._fleet.unit(request.match_info["name"]).status()))

    async def _load(self, request: web.Request) -> web.Response:
        self._fleet.load(request.match_info["name"])
        return await self._model(request)

    async def _unload(self, request: web.Request) -> web.Response:
        self._fleet.unload(request.match_info["name"])
        return await self._model(request)

    async def _sleep(self, request: web.Request) -> web.Response:
        await self._fleet.sleep(request.match_info["name"])
        return await self._model(request)

    async def _wake(self, request: web.Request) -> web.Response:
        await self._fleet.wake(request.match_info["name"])
        return await self._model(request)

    async def _share(self, _: web.Request) -> web.Response:
        return _json(f'{{"groups":[{",".join(map(dump, self._fleet.shares()))}]}}')

    async def _history(self, request: web.Request) -> web.Response:
        return _json(json.dumps(self._fleet.history.after(float(request.query.get("after", "0")))))

    async def _memory(self, _: web.Request) -> web.Response:
        return _json(json.dumps(self._fleet.memory))

    async def _logs(self, request: web.Request) -> web.Response:
        lines = min(int(request.query.get("lines", "200")), MAX_LOG_LINES)
        paths = self._fleet.log_paths(request.match_info["name"])
        return web.Response(text="\n".join(tail(path, lines, window=1 << 20) for path in paths))

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(text=await self._fleet.metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    async def _stop(self, request: web.Request) -> web.Response:
        body = await _body(request)
        seconds = body.get("drain_seconds")
        self._fleet.request_stop(float(seconds) if isinstance(seconds, int | float) else None)
        return _json("{}")


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except FleetError as err:
        body = {"error": {"message": str(err), "kind": type(err).__name__}}
        return _json(json.dumps(body), err.http_status)
    except (KeyError, ValueError) as err:
        body = {"error": {"message": f"malformed request: {err}", "kind": UsageError.__name__}}
        return _json(json.dumps(body), 400)


async def _body(request: web.Request) -> dict[str, object]:
    text = await request.text()
    data = json.loads(text) if text else {}
    if not isinstance(data, dict):
        raise ValueError("the body must be a JSON object")
    return data


def _json(text: str, status: int = 200) -> web.Response:
    return web.Response(text=text, status=status, content_type="application/json")
