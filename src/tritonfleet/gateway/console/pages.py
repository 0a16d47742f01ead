"""The console's paths, as Starlette routes."""

from __future__ import annotations

import logging
import math

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from tritonfleet.gateway.access import caller_of
from tritonfleet.gateway.console import view
from tritonfleet.gateway.console.assets import HEADERS, INDEX, RUNBOOK, assets
from tritonfleet.gateway.console.link import SupervisorLink
from tritonfleet.gateway.core import Core
from tritonfleet.gateway.problem import Problem

log = logging.getLogger(__name__)

MOST_LOG_LINES = 2000
_FRESH = {**HEADERS, "cache-control": "no-store"}


class Console:
    """The page, and what it asks for."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._link = SupervisorLink(core.options.control)
        self.routes = [
            Route("/", self._index),
            Route("/console/runbook", self._runbook),
            Route("/console/assets/{path:path}", self._asset),
            Route("/console/api/live", self._live),
            Route("/console/api/memory", self._memory),
            Route("/console/api/logs/{name}", self._logs),
            Route("/console/api/models/{name}/{action}", self._act, methods=["POST"]),
        ]

    async def close(self) -> None:
        """Close the connections to the supervisor."""
        await self._link.close()

    async def _index(self, request: Request) -> Response:
        return _file(request, INDEX)

    async def _runbook(self, request: Request) -> Response:
        """What alerts link to; it needs no supervisor and no key, for whoever was woken may have neither."""
        return _file(request, RUNBOOK)

    async def _asset(self, request: Request) -> Response:
        return _file(request, request.path_params["path"])

    async def _live(self, request: Request) -> Response:
        """The state of everything, and the samples after ``?after=T``."""
        rights = self._rights(request)
        after = _number(request, "after", 0.0)
        status, history = await self._link.status(), await self._link.history(after)
        return JSONResponse(view.live(status, history, rights, keys_required=self._core.keys.required), headers=_FRESH)

    async def _memory(self, request: Request) -> Response:
        view.check_memory(self._rights(request))
        return JSONResponse(await self._link.memory(), headers=_FRESH)

    async def _logs(self, request: Request) -> Response:
        """The last ``?lines=N`` of one log, as plain text."""
        view.check_logs(self._rights(request))
        lines = min(max(1, round(_number(request, "lines", 200))), MOST_LOG_LINES)
        return PlainTextResponse(await self._link.logs(request.path_params["name"], lines), headers=_FRESH)

    async def _act(self, request: Request) -> Response:
        """Load, unload, put to sleep or wake a model; 202, the state tells how it goes."""
        name, action = request.path_params["name"], request.path_params["action"]
        view.check_action(self._rights(request), action)
        found = await self._link.act(name, action)
        log.info("%s: %s, asked for in the console by key %s", name, action, caller_of(request.scope).id)
        return JSONResponse(found, 202, headers=_FRESH)

    def _rights(self, request: Request) -> view.Rights:
        return view.rights_of(caller_of(request.scope), request.scope, keys_required=self._core.keys.required)


def _file(request: Request, path: str) -> Response:
    asset = assets().get(path)
    if asset is None:
        raise Problem(404, "unknown_path", f"the console has no file {path[:200]!r}")
    # The files of another version under the same name must not stay in a browser.
    headers = {**HEADERS, "etag": asset.etag, "cache-control": "no-cache"}
    if request.headers.get("if-none-match") == asset.etag:
        return Response(status_code=304, headers=headers)
    return Response(asset.content, headers={**headers, "content-type": asset.media_type})


def _number(request: Request, name: str, default: float) -> float:
    text = request.query_params.get(name)
    try:
        value = default if text is None else float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise Problem(400, "invalid_query", f"{name} must be a number, not {text!r}", param=name)
    return value
