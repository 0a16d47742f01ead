"""Who may come in: the ASGI layer that looks at API keys, and errors as ASGI responses."""

from __future__ import annotations

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from tritonfleet.gateway.admin import OPERATOR, AdminToken, is_local
from tritonfleet.gateway.keys import ANYBODY, Caller, KeyRing, secret_in
from tritonfleet.gateway.problem import Problem, body

#: Probes and Prometheus have no key; nothing here tells more than counts and names of models.
OPEN_PATHS = frozenset({"/health", "/health/live", "/health/ready", "/metrics", "/", "/console/runbook"})
#: The console's pages and their files are the same for everybody; what they show is asked for with a key.
OPEN_FOLDER = "/console/assets/"


class KeyGate:
    """Puts the caller into ``scope["state"]``, or answers 401."""

    def __init__(self, app: ASGIApp, keys: KeyRing, token: AdminToken) -> None:
        self._app = app
        self._keys = keys
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it."""
        if scope["type"] == "http" and not _is_open(scope["path"]):
            secret = secret_in(scope["headers"])
            try:
                caller = OPERATOR if is_local(scope) and self._token.fits(secret) else self._keys.caller(secret)
            except Problem as problem:
                await answer(problem)(scope, receive, send)
                return
            scope.setdefault("state", {})["caller"] = caller
        await self._app(scope, receive, send)


def caller_of(scope: Scope) -> Caller:
    """Return who sends the request, as the gate found."""
    found = scope.get("state", {}).get("caller", ANYBODY)
    return found if isinstance(found, Caller) else ANYBODY


def _is_open(path: str) -> bool:
    return path in OPEN_PATHS or path.startswith(OPEN_FOLDER)


def answer(problem: Problem) -> Response:
    """Return *problem* as a response."""
    return Response(body(problem.error), problem.status, problem.headers, "application/json")
