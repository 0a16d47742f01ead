"""Pass one request to an engine and its answer back, byte for byte."""

from __future__ import annotations

import itertools
import logging
import os
import time
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from starlette.types import Receive, Scope, Send

from tritonfleet.gateway import problem as problems
from tritonfleet.gateway.core import Core
from tritonfleet.gateway.engines import Answer, BrokenOff, Headers, NotConnected, Replica, forwarded
from tritonfleet.gateway.exchange import ClientGone, Exchange, Wait
from tritonfleet.gateway.head import Head, conversation, model_of, read_head, with_fields
from tritonfleet.gateway.keys import ANYBODY, Caller
from tritonfleet.gateway.names import Target
from tritonfleet.gateway.problem import Problem
from tritonfleet.gateway.tracing import MODEL
from tritonfleet.gateway.usage import UsageTap, wants_usage

log = logging.getLogger(__name__)

#: Most bytes of an engine's error body that are kept.
MAX_ERROR_BYTES = 1 << 20
#: An answer that ends with these bytes ends with a whole event.
_EVENT_END = b"\n\n"

_instance = os.urandom(4).hex()
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Kind:
    """What the gateway must know about a path of the API."""

    path: str
    generates: bool = True
    """Whether requests take a turn in the model's line; the others cost the engine next to nothing."""


class Relay:
    """The ASGI application of one path."""

    def __init__(self, kind: Kind, core: Core) -> None:
        self._kind = kind
        self._core = core

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        await _Passage(self._kind, self._core, scope, send).run(receive)


class _Passage:
    """One request."""

    def __init__(self, kind: Kind, core: Core, scope: Scope, send: Send) -> None:
        self._kind = kind
        self._core = core
        self._send = send
        self._headers: Headers = scope["headers"]
        self._state: dict[str, Any] = scope.setdefault("state", {})
        self._caller: Caller = self._state.get("caller", ANYBODY)
        query = scope["query_string"]
        self._path = f"{kind.path}?{query.decode('latin-1')}" if query else kind.path
        self._begun = time.perf_counter()
        self._id = _request_id(self._headers)
        self._model = "unknown"
        """Label of the metrics: only names that exist."""
        self._started = False
        """Whether anything was sent to the client."""
        self._is_stream = False
        self._tail = b""
        self._tap: UsageTap | None = None

    async def run(self, receive: Receive) -> None:
        """Serve the request, whatever happens."""
        metrics = self._core.metrics
        try:
            with Exchange(self._core.watchdog) as exchange:
                body = await self._core.bodies.read(self._headers, receive, exchange)
                try:
                    exchange.listen(receive)
                    await self._serve(body, exchange)
                finally:
                    self._core.bodies.release(body)
        except ClientGone:
            metrics.count("client_gone", self._model)
        except Problem as problem:
            await self._fail(problem, receive)
        finally:
            if self._model != "unknown":
                metrics.observe("request_seconds", time.perf_counter() - self._begun, self._model)

    async def _serve(self, body: bytes | bytearray, exchange: Exchange) -> None:
        core, caller = self._core, self._caller
        head = read_head(body)
        name = model_of(head)
        target = core.find(name, caller, holds=self._kind.generates)
        self._model = self._state[MODEL] = target.route.model
        core.limits.admit(caller)
        sent = self._engine_body(body, head, name, target)
        prefix = conversation(head, name) if len(target.route.endpoints) > 1 else None
        async with self._turn():
            target = core.find(name, caller)  # the wait may have been long
            try:
                async with core.devices.hold(target.route, self._headers, exchange, generates=self._kind.generates):
                    await self._ask(sent, target, prefix, exchange)
            finally:
                if self._tap is not None and self._tap.began:
                    core.limits.charge(caller, self._tap.usage() or self._tap.estimate(len(body)))

    def _engine_body(self, body: bytes | bytearray, head: Head, name: str, target: Target) -> bytes | bytearray:
        """Return the body for the engine: the client's own, unless a field must change."""
        changes: dict[str, object] = {}
        if name != target.engine_name:
            changes["model"] = target.engine_name
        if self._caller.tokens_per_minute is not None and self._kind.generates:
            extra = wants_usage(self._kind.path, head, body)
            changes.update(extra)
            self._tap = UsageTap(hide=bool(extra))
        return with_fields(body, changes) if changes else body

    def _turn(self) -> AbstractAsyncContextManager[None]:
        if not self._kind.generates:
            return nullcontext()
        return self._core.turn(self._model, self._caller.priority)

    async def _ask(self, body: bytes | bytearray, target: Target, prefix: bytes | None, exchange: Exchange) -> None:
        """Send the request to one replica after another, as long as nothing was sent to the client."""
        route = target.route
        headers = forwarded(self._headers, (("X-Request-Id", self._id),))
        replicas = self._core.engines.order(route, prefix)
        lost = 0
        why = ""
        exchange.wait = Wait.ENGINE
        for number, replica in enumerate(replicas):
            if number:
                self._core.metrics.count("retries", self._model)
            replica.begin()
            answer: Answer | None = None
            try:
                answer = await replica.send("POST", self._path, headers, body)
                if answer.status in (429, 503) and number + 1 < len(replicas):
                    continue
                if answer.status >= 400:
                    await self._pass_error(answer, target)
                    return
                await self._pass(answer, await answer.chunk(), exchange)
                return
            except NotConnected as err:
                why = f"it takes no connection ({err})"
            except BrokenOff as err:
                why = f"it broke off before the answer was complete ({err})"
                lost += 1
                # A request may be what kills its engine: it gets a second one, not all of them.
                if self._started or lost > 1:
                    break
            finally:
                replica.end()
                if answer is not None:
                    answer.close()
        raise self._engine_failed(target, replicas, why)

    def _engine_failed(self, target: Target, replicas: list[Replica], why: str) -> Problem:
        return Problem(
            502 if self._started else 503,
            "engine_unavailable",
            f"the {target.route.engine} engine of {target.route.model!r} failed: {why}",
            src="engine",
            retry_after_seconds=2.0 if len(replicas) > 1 else 5.0,
        )

    async def _pass(self, answer: Answer, first: bytes, exchange: Exchange) -> None:
        """Send the answer's bytes as they come; *first* has come already."""
        send, tap, chunk = self._send, self._tap, first
        self._is_stream = answer.is_stream
        headers = answer.headers
        headers.append((b"x-request-id", self._id.encode("latin-1")))
        if self._is_stream:
            headers.append((b"x-accel-buffering", b"no"))  # nginx would hold the events back
        if tap is not None:
            tap.begin(is_stream=answer.is_stream)
            headers = [entry for entry in headers if entry[0] != b"content-length" or not self._is_stream]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        self._started = True
        if self._is_stream:
            self._core.metrics.observe("ttft_seconds", time.perf_counter() - self._begun, self._model)
        while chunk:
            self._tail = chunk
            if tap is not None:
                chunk = tap.feed(chunk)
            exchange.wait = Wait.CLIENT
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            exchange.wait = Wait.ENGINE
            exchange.steps += 1
            chunk = await answer.chunk()
        await send({"type": "http.response.body", "body": tap.rest() if tap else b"", "more_body": False})
        self._core.metrics.count("requests", self._model, self._kind.path, str(answer.status), "engine")

    async def _pass_error(self, answer: Answer, target: Target) -> None:
        raw = await answer.read(MAX_ERROR_BYTES)
        error = problems.engine_error(answer.status, raw)
        status = answer.status
        if problems.is_missing_path(status, str(error["message"])):
            raise Problem(
                501,
                "not_supported",
                f"the {target.route.engine} engine of {target.route.model!r} has no {self._kind.path}",
                src="engine",
            )
        kept = [(name, value) for name, value in answer.headers if name == b"retry-after"]
        await self._respond(status, problems.body(error), kept)
        self._core.metrics.count("requests", self._model, self._kind.path, str(status), "engine")

    async def _fail(self, problem: Problem, receive: Receive) -> None:
        """Answer with an error; in the middle of an answer, as an event, or by breaking off."""
        metrics = self._core.metrics
        metrics.count("requests", self._model, self._kind.path, str(problem.status), problem.src)
        if problem.src == "gateway":
            metrics.count("refused", problem.code)
        elif problem.code != "model_not_ready":  # the supervisor's log says it once
            log.warning("request %s: %s", self._id, problem)
        if not self._started:
            headers = [(name.encode(), value.encode()) for name, value in problem.headers.items()]
            unread = receive if problem.headers.get("connection") == "close" else None
            await self._respond(problem.status, problems.body(problem.error), headers, unread)
        elif self._is_stream and self._tail.endswith(_EVENT_END):
            event = problems.event(problem.error)
            await self._send({"type": "http.response.body", "body": event, "more_body": False})
        # else: the server closes the connection, and the client sees that the answer is not complete

    async def _respond(self, status: int, body: bytes, headers: Headers, unread: Receive | None = None) -> None:
        self._started = True
        own = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"x-request-id", self._id.encode("latin-1")),
        ]
        await self._send({"type": "http.response.start", "status": status, "headers": [*own, *headers]})
        await self._send({"type": "http.response.body", "body": body, "more_body": unread is not None})
        if unread is not None:
            await self._core.bodies.linger(unread)
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})


def _request_id(headers: Headers) -> str:
    for name, value in headers:
        if name == b"x-request-id":
            return value.decode("latin-1")[:128]
    return f"{_instance}-{next(_numbers)}"
