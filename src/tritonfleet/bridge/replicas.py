"""The engines behind one model: choose one for a request, send it, and say in words what went wrong.

Nothing of aiohttp leaves this module.
"""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from tritonfleet.bridge import codec
from tritonfleet.bridge.failure import BridgeError, InvalidRequest, Unavailable, Unsupported
from tritonfleet.wire import Endpoint, Route

#: What NVIDIA's backend puts before the reason.
FAILED = "Error generating stream:"

#: uvicorn closes a connection that was idle for 5 s; it must not be used at that moment.
_KEEPALIVE_SECONDS = 2.0
#: A replica that refused a connection is asked last for this long.
_AVOID_SECONDS = 1.0
#: A full accept queue of a Unix socket refuses at once (EAGAIN) where TCP would wait.
_QUEUE_FULL_SECONDS = 0.02
_QUEUE_FULL_TRIES = 250

_NO_DEADLINE = aiohttp.ClientTimeout(total=None, sock_connect=5)
_HEALTH = aiohttp.ClientTimeout(total=5)
_QUICK = aiohttp.ClientTimeout(total=30)

#: How vLLM, aiohttp and llama.cpp say that they have no such route; a 404 with other words is about the model.
_NO_ROUTE = frozenset({"Not Found", "404: Not Found", "File Not Found"})

#: Asks why the model does not serve.
Reason = Callable[[], Awaitable[str]]


class Replica:
    """One engine."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.outstanding = 0
        """Requests that it works on for this bridge."""
        self.used = 0
        """Number of the last request that it got."""
        self.avoid_until = 0.0
        connector = (
            aiohttp.UnixConnector(endpoint.uds, limit=0, keepalive_timeout=_KEEPALIVE_SECONDS)
            if endpoint.uds
            else aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEPALIVE_SECONDS)
        )
        self.session = aiohttp.ClientSession(
            connector=connector,
            timeout=_NO_DEADLINE,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Content-Type": "application/json", "Accept-Encoding": "identity"},
            skip_auto_headers=("User-Agent", "Accept"),
        )

    def url(self, path: str) -> str:
        """Return the URL of *path* at this engine."""
        return f"{self.endpoint.base_url}{path}"


class Reply:
    """A successful answer whose body is still coming."""

    def __init__(
        self, response: aiohttp.ClientResponse, lost: Callable[[BaseException], Awaitable[BridgeError]]
    ) -> None:
        self._response = response
        self._lost = lost

    async def chunk(self) -> bytes:
        """Return the bytes that have come, waiting for at least one; nothing at the end of the body."""
        try:
            return await self._response.content.readany()
        except (aiohttp.ClientError, OSError) as err:
            raise await self._lost(err) from err

    async def body(self) -> bytes:
        """Return the whole body."""
        try:
            return await self._response.read()
        except (aiohttp.ClientError, OSError) as err:
            raise await self._lost(err) from err


class Replicas:
    """All engines of one model; must be made and used in the event loop."""

    def __init__(self, route: Route, reason: Reason) -> None:
        self._model = route.model
        self._engine = route.engine
        self._reason = reason
        self._count = 0
        self.replicas = [Replica(endpoint) for endpoint in route.endpoints]

    async def close(self) -> None:
        """Close all connections."""
        for replica in self.replicas:
            await replica.session.close()

    @asynccontextmanager
    async def post(self, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> AsyncIterator[Reply]:
        """Send *body* to the engine with the fewest requests; leaving the block early makes it abort the request.

        Another replica is tried only while nothing was sent. Raises BridgeError with a code that fits.
        """
        failure: Exception | None = None
        for replica in self._by_preference():
            replica.outstanding += 1
            try:
                try:
                    response = await self._send(replica, path, body, headers)
                except aiohttp.ClientConnectorError as err:  # no connection, so nothing was sent
                    replica.avoid_until = time.monotonic() + _AVOID_SECONDS
                    failure = err
                    continue
                except (aiohttp.ClientError, OSError) as err:
                    raise await self._lost(err) from err
                try:
                    reply = Reply(response, self._lost)
                    if response.status != 200:
                        raise self._refusal(response.status, path, await reply.body())
                    yield reply
                    return
                finally:
                    # Closes the connection unless the body was read to its end: the engine's sign to abort.
                    response.release()
            finally:
                replica.outstanding -= 1
        raise await self._unreachable(failure)

    async def detokenize(self, ids: Sequence[int]) -> str:
        """Return the text of a few tokens."""
        body = codec.dumps({"tokens": list(ids)})
        async with self.post("/detokenize", body) as reply:
            return str(codec.loads(await reply.body())["prompt"])

    async def healthy(self) -> bool:
        """Whether at least one engine says that it is well."""
        return any([await self._healthy(replica) for replica in self.replicas])

    async def max_model_len(self) -> int | None:
        """Return the longest prompt plus answer in tokens, where an engine tells it."""
        models = (await self._ask("/v1/models")).get("data") or []
        lengths = [entry.get("max_model_len") for entry in models if isinstance(entry, dict)]
        return next((length for length in lengths if isinstance(length, int)), None)

    async def version(self) -> str:
        """Return the engine's version; empty where no engine tells it."""
        return str((await self._ask("/version")).get("version", ""))

    async def _ask(self, path: str) -> dict[str, Any]:
        """Return the JSON object at *path* of the first engine that has one; an empty one without any."""
        for replica in self.replicas:
            try:
                async with replica.session.get(replica.url(path), timeout=_QUICK) as response:
                    answer = codec.loads(await response.read()) if response.status == 200 else None
            except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
                continue
            if isinstance(answer, dict):
                return answer
        return {}

    async def _healthy(self, replica: Replica) -> bool:
        try:
            async with replica.session.get(replica.url("/health"), timeout=_HEALTH) as response:
                return response.status == 200
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False

    def _by_preference(self) -> list[Replica]:
        self._count += 1
        if len(self.replicas) == 1:
            return self.replicas
        now = time.monotonic()
        order = sorted(self.replicas, key=lambda entry: (entry.avoid_until > now, entry.outstanding, entry.used))
        for chosen in order[:1]:
            chosen.used = self._count
        return order

    async def _send(
        self, replica: Replica, path: str, body: bytes, headers: Mapping[str, str] | None
    ) -> aiohttp.ClientResponse:
        for _ in range(_QUEUE_FULL_TRIES):
            try:
                return await replica.session.post(replica.url(path), data=body, headers=headers)
            except aiohttp.ClientConnectorError as err:
                if err.errno != errno.EAGAIN:
                    raise
            await asyncio.sleep(_QUEUE_FULL_SECONDS)
        return await replica.session.post(replica.url(path), data=body, headers=headers)

    async def cut_off(self) -> BridgeError:
        """Return the error of an answer that ended without saying so."""
        return await self._lost(None)

    async def _unreachable(self, failure: Exception | None) -> BridgeError:
        where = ", ".join(str(replica.endpoint) for replica in self.replicas) or "no endpoint"
        return Unavailable(
            f"{FAILED} {self._model}: the {self._engine} engine does not answer ({where}: {_cause(failure)}); "
            f"{await self._reason()}"
        )

    async def _lost(self, err: BaseException | None) -> BridgeError:
        how = type(err).__name__ if err is not None else "end of stream"
        return Unavailable(
            f"{FAILED} {self._model}: the {self._engine} engine broke off before the answer was complete ({how}); "
            f"{await self._reason()}"
        )

    def _refusal(self, status: int, path: str, body: bytes) -> BridgeError:
        reason = error_text(body)
        if status in (404, 405, 501) and _no_such_route(status, reason):
            task = "embed" if path.endswith("embeddings") else "generate"
            return Unsupported(f"{FAILED} Model {self._model} does not support '{task}' request")
        text = f"{FAILED} {self._model}: the {self._engine} engine refused the request ({status}): {reason}"
        if status in (429, 503):
            return Unavailable(text)
        return InvalidRequest(text) if status < 500 else BridgeError(text)


def error_text(body: bytes) -> str:
    """Return the message in an engine's error body, whichever of the usual forms it has."""
    try:
        data = codec.loads(body)
    except ValueError:
        return body.decode("utf-8", "replace").strip()[:500] or "no reason given"
    if isinstance(data, dict):
        error = data.get("error", data)
        if isinstance(error, dict):
            error = error.get("message") or error.get("detail") or error
        return str(error)
    return str(data)


def _no_such_route(status: int, reason: str) -> bool:
    return status != 404 or reason in _NO_ROUTE


def _cause(failure: Exception | None) -> str:
    cause = getattr(failure, "os_error", None) or failure
    return (getattr(cause, "strerror", None) or str(cause)) if cause is not None else "nothing to connect to"
