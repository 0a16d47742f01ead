"""The gateway as an ASGI application: its paths, and the small answers that it makes itself."""

from __future__ import annotations

import asyncio
import difflib
import logging
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tritonfleet.gateway.access import KeyGate, answer, caller_of
from tritonfleet.gateway.board import Board
from tritonfleet.gateway.command import GatewayOptions
from tritonfleet.gateway.console import Console
from tritonfleet.gateway.core import Core
from tritonfleet.gateway.fleet_metrics import FleetMetrics
from tritonfleet.gateway.names import Target
from tritonfleet.gateway.problem import Problem
from tritonfleet.gateway.relay import Kind, Relay
from tritonfleet.gateway.routes import RouteWatch
from tritonfleet.gateway.tracing import TraceGate, Tracer
from tritonfleet.metrics.text import CONTENT_TYPE

log = logging.getLogger(__name__)

#: Every path that is passed to an engine. What manages an engine (sleep, adapters, caches) is not among them.
KINDS = (
    Kind("/v1/chat/completions"),
    Kind("/v1/completions"),
    Kind("/v1/embeddings"),
    Kind("/v1/responses"),
    Kind("/v1/messages"),
    Kind("/v1/messages/count_tokens", generates=False),
    Kind("/tokenize", generates=False),
    Kind("/detokenize", generates=False),
    Kind("/v1/rerank"),
    Kind("/rerank"),
    Kind("/v2/rerank"),
    Kind("/v1/score"),
    Kind("/score"),
    Kind("/pooling"),
    Kind("/classify"),
)
OWNER = "tritonfleet"
#: Longest wait for the supervisor's first word before the door opens without it.
FIRST_ROUTES_SECONDS = 10.0


class Pages:
    """The answers that the gateway makes itself."""

    def __init__(self, core: Core) -> None:
        self._core = core
        folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
        self._fleet_metrics = FleetMetrics(
            core.options.control, core.options.fleet, lambda: core.metrics.exposition(folder)
        )
        self._created = int(time.time())

    async def models(self, request: Request) -> Response:
        """List the models and adapters that serve now and that the caller may use."""
        listed = self._core.names.listed(caller_of(request.scope).models)
        return JSONResponse({"object": "list", "data": [self._model(name, entry) for name, entry in listed.items()]})

    async def model(self, request: Request) -> Response:
        """Describe one model; 404 naming the others."""
        name = request.path_params["name"]
        return JSONResponse(self._model(name, self._core.find(name, caller_of(request.scope))))

    async def live(self, _: Request) -> Response:
        """Tell that the process runs."""
        return JSONResponse({"status": "live"})

    async def ready(self, _: Request) -> Response:
        """Tell whether at least one model serves at both doors, and how each of them is."""
        states = {route.model: route.state for route in self._core.names.routes}
        serves = any(route.endpoints and route.in_triton for route in self._core.names.routes)
        return JSONResponse({"status": "ready" if serves else "not ready", "models": states}, 200 if serves else 503)

    async def metrics(self, _: Request) -> Response:
        """Return the metrics of the whole fleet in Prometheus' text format."""
        return Response(await self._fleet_metrics.text(), headers={"content-type": CONTENT_TYPE})

    async def stored_response(self, _: Request) -> Response:
        """Say that answers are not kept."""
        raise Problem(
            501, "not_supported", "answers are not kept here; send the whole conversation instead of a response's id"
        )

    def _model(self, name: str, target: Target) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "id": name,
            "object": "model",
            "created": self._created,
            "owned_by": OWNER,
            "root": target.engine_name,
            "parent": target.route.model if target.adapter else None,
        }
        if target.route.max_model_len is not None:
            entry["max_model_len"] = target.route.max_model_len
        return entry


def build_app(options: GatewayOptions, board: Board) -> Starlette:
    """Return the application of one worker."""
    core = Core(options, board)
    pages = Pages(core)
    console = Console(core)
    tracer = _tracer(options)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        watch = RouteWatch(options.control, core.update)
        tasks = [
            asyncio.create_task(watch.run(), name="the watch on the routes"),
            asyncio.create_task(core.watchdog.run(), name="the watchdog"),
        ]
        for task in tasks:
            task.add_done_callback(_end_with)
        with suppress(TimeoutError):  # the first requests are for models that are known
            await asyncio.wait_for(core.heard.wait(), FIRST_ROUTES_SECONDS)
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await core.engines.close()
            await core.devices.close()
            await console.close()
            if tracer is not None:
                await asyncio.to_thread(tracer.close)

    routes = [
        *(Route(kind.path, Relay(kind, core), methods=["POST"]) for kind in KINDS),
        Route("/v1/models", pages.models),
        Route("/v1/models/{name:path}", pages.model),
        Route("/v1/responses/{name}", pages.stored_response, methods=["GET", "DELETE"]),
        Route("/v1/responses/{name}/cancel", pages.stored_response, methods=["POST"]),
        Route("/health", pages.ready),
        Route("/health/ready", pages.ready),
        Route("/health/live", pages.live),
        Route("/metrics", pages.metrics),
        *console.routes,
    ]
    return Starlette(
        routes=routes,
        middleware=[*_tracing(tracer), Middleware(KeyGate, keys=core.keys, token=core.admin_token)],
        exception_handlers={Problem: _problem, HTTPException: _http_error, Exception: _bug},
        lifespan=lifespan,
    )


def _tracer(options: GatewayOptions) -> Tracer | None:
    """Return what makes spans; OpenTelemetry is imported only where traces are on."""
    if options.traces is None:
        return None
    from tritonfleet.tracing.otel import DoorTracer

    return DoorTracer(options.traces, options.trace_ratio, options.fleet)


def _tracing(tracer: Tracer | None) -> list[Middleware]:
    if tracer is None:
        return []
    return [Middleware(TraceGate, tracer=tracer, paths=frozenset(kind.path for kind in KINDS))]


def _end_with(task: asyncio.Task[None]) -> None:
    """End the process when a task ended that must not: whoever started it starts it anew."""
    if not task.cancelled():
        log.critical("%s failed; the gateway ends", task.get_name(), exc_info=task.exception())
        signal.raise_signal(signal.SIGTERM)


async def _problem(_: Request, err: Exception) -> Response:
    assert isinstance(err, Problem)
    return answer(err)


async def _http_error(request: Request, err: Exception) -> Response:
    assert isinstance(err, HTTPException)
    path, method = request.url.path, request.method
    if err.status_code == 405:
        problem = Problem(405, "method_not_allowed", f"{path} does not take {method}", headers=err.headers)
    else:
        known = [*(kind.path for kind in KINDS), "/v1/models", "/health", "/metrics"]
        near = difflib.get_close_matches(path, known, n=1, cutoff=0.6)
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}"
        problem = Problem(404, "unknown_path", f"there is no {path[:200]}; {hint}")
    return answer(problem)


async def _bug(_: Request, err: Exception) -> Response:
    return answer(Problem(500, "gateway_error", f"the gateway failed ({type(err).__name__}); its log says more"))
