"""Who may come in: the ASGI layer that looks at API keys, and errors as ASGI responses."""

from __future__ import annotations

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from tritonfleet.gateway.keys import KeyRing, secret_in
from tritonfleet.gateway.problem import Problem, body

#: Probes and Prometheus have no key; nothing here tells more than counts and names of models.
OPEN_PATHS = frozenset({"/health", "/health/live", "/health/ready", "/metrics"})


class KeyGate:
    """Puts the caller into ``scope["state"]``, or answers 401."""

    def __init__(self, app: ASGIApp, keys: KeyRing) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it."""
        if scope["type"] == "http" and scope["path"] not in OPEN_PATHS:
            try:
                caller = self._keys.caller(secret_in(scope["headers"]))
            except Problem as problem:
                await answer(problem)(scope, receive, send)
                return
            scope.setdefault("state", {})["caller"] = caller
        await self._app(scope, receive, send)


def answer(problem: Problem) -> Response:
    """Return *problem* as a response."""
    return Response(body(problem.error), problem.status, problem.headers, "application/json")
