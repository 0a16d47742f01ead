"""Connections to the engines. Nothing of aiohttp leaves this module."""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import AsyncIterator, Sequence

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from tritonfleet.gateway import balance
from tritonfleet.gateway.board import Board
from tritonfleet.wire import Endpoint, Route

#: uvicorn, which most engines serve with, closes a connection that was idle for 5 s.
KEEPALIVE_SECONDS = 2.0
CONNECT_SECONDS = 5.0
#: A replica that refused a connection is asked last for this long.
AVOID_SECONDS = 1.0
#: A full accept queue of a Unix socket refuses at once (EAGAIN) where TCP would wait.
QUEUE_FULL_SECONDS = 0.02
QUEUE_FULL_TRIES = 250
#: aiohttp writes a body in one piece; a larger one is cut, so that others are served in between.
PIECE_BYTES = 256 * 1024

_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)

#: Headers between a client and the gateway, or the gateway and an engine, that mean nothing beyond.
_HOP = frozenset(
    {
        b"connection",
        b"content-length",
        b"date",
        b"host",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"server",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
#: Headers of a client that its engine must not see, or that would change the bytes of the answer.
_NOT_SENT = _HOP | {
    b"accept-encoding",
    b"authorization",
    b"content-encoding",
    b"cookie",
    b"expect",
    b"x-api-key",
    b"x-request-id",  # the gateway adds its own, or the client's
}

Headers = list[tuple[bytes, bytes]]


class NotConnected(Exception):
    """The engine takes no connection: the request was not sent."""


class BrokenOff(Exception):
    """The engine went away with the request in its hands."""


class Answer:
    """An engine's answer whose body is still coming."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status
        content_type = response.headers.get("Content-Type", "")
        self.is_stream = content_type.startswith("text/event-stream")

    @property
    def headers(self) -> Headers:
        """Headers for the client."""
        found = [(name.lower(), value) for name, value in self._response.raw_headers if name.lower() not in _HOP]
        if (length := self._response.headers.get("Content-Length")) is not None:
            found.append((b"content-length", length.encode()))
        return found

    async def chunk(self) -> bytes:
        """Return the bytes that have come, waiting for at least one; nothing at the end; raise BrokenOff."""
        try:
            return await self._response.content.readany()
        except (aiohttp.ClientError, OSError) as err:
            raise BrokenOff(_cause(err)) from err

    async def read(self, most: int) -> bytes:
        """Return the body, cut after *most* bytes."""
        parts: list[bytes] = []
        while most > 0 and (chunk := await self.chunk()):
            parts.append(chunk[:most])
            most -= len(chunk)
        return b"".join(parts)

    def close(self) -> None:
        """Let go: of the connection if the body is complete, else of the request, which the engine then aborts."""
        self._response.close()


class Replica:
    """One engine of a model."""

    def __init__(self, endpoint: Endpoint, board: Board) -> None:
        self.endpoint = endpoint
        self.name = str(endpoint)
        self._board = board
        self._row = board.row(f"outstanding {endpoint}")
        self._base = endpoint.base_url
        self._avoid_until = 0.0
        connector = (
            aiohttp.UnixConnector(endpoint.uds, limit=0, keepalive_timeout=KEEPALIVE_SECONDS)
            if endpoint.uds
            else aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_SECONDS)
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=_TIMEOUT,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        )

    @property
    def load(self) -> int:
        """Requests that it works on for all workers; one that cannot be reached looks busy."""
        busy = 1 << 20 if self._avoid_until > time.monotonic() else 0
        return self._board.total(self._row) + busy

    def begin(self) -> None:
        """Count a request."""
        self._board.add(self._row, 1)

    def end(self) -> None:
        """Count a request's end."""
        self._board.add(self._row, -1)

    async def send(self, method: str, path: str, headers: CIMultiDict[str], body: bytes | bytearray) -> Answer:
        """Send a request and return its answer once the headers are there; raise NotConnected or BrokenOff."""
        for _ in range(QUEUE_FULL_TRIES):
            data = body if len(body) <= PIECE_BYTES else _pieces(body)
            try:
                return Answer(
                    await self._session.request(
                        method, URL(self._base + path, encoded=True), data=data, headers=headers, allow_redirects=False
                    )
                )
            except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as err:
                if getattr(err, "errno", None) != errno.EAGAIN:
                    self._avoid_until = time.monotonic() + AVOID_SECONDS
                    raise NotConnected(_cause(err)) from err
            except (aiohttp.ClientError, OSError) as err:
                raise BrokenOff(_cause(err)) from err
            await asyncio.sleep(QUEUE_FULL_SECONDS)
        raise NotConnected("its queue of new connections stays full")

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()


class Engines:
    """All engines that the gateway has met.

    An engine keeps its address for the life of the fleet, so none is forgotten when it leaves the routes: requests
    that run there go on to their end.
    """

    def __init__(self, board: Board) -> None:
        self._board = board
        self._replicas: dict[Endpoint, Replica] = {}

    def order(self, route: Route, conversation: bytes | None) -> list[Replica]:
        """Return the route's replicas in the order in which they should be asked."""
        replicas = [self._replica(endpoint) for endpoint in route.endpoints]
        if len(replicas) == 1:
            return replicas
        loads = [replica.load for replica in replicas]
        return [replicas[number] for number in balance.order(loads, [entry.name for entry in replicas], conversation)]

    def _replica(self, endpoint: Endpoint) -> Replica:
        found = self._replicas.get(endpoint)
        if found is None:
            found = self._replicas[endpoint] = Replica(endpoint, self._board)
        return found

    async def close(self) -> None:
        """Close all connections."""
        for replica in self._replicas.values():
            await replica.close()
        self._replicas.clear()


def forwarded(headers: Headers, extra: Sequence[tuple[str, str]]) -> CIMultiDict[str]:
    """Return the headers that an engine gets of a client's."""
    sent: CIMultiDict[str] = CIMultiDict(
        (name.decode("latin-1"), value.decode("latin-1")) for name, value in headers if name not in _NOT_SENT
    )
    sent.extend(extra)
    return sent


async def _pieces(body: bytes | bytearray) -> AsyncIterator[memoryview]:
    view = memoryview(body)
    for start in range(0, len(view), PIECE_BYTES):
        yield view[start : start + PIECE_BYTES]


def _cause(err: BaseException) -> str:
    cause = getattr(err, "os_error", None) or err
    return getattr(cause, "strerror", None) or str(cause) or type(err).__name__
