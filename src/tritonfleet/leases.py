"""Leases of models that share a device, over one WebSocket to the supervisor. Used by bridge and gateway alike.

A request for such a model takes a lease before it goes to the engine and gives it back at its end; in between the
supervisor does not put the engine to sleep. One connection carries all leases of a process. When it closes, by a crash
too, the supervisor counts all of them as given back.

Messages are JSON objects in text frames, ``id`` is chosen by the client::

    client                                               supervisor
    {"take": id, "model": NAME, "seconds": S}      ->
                                                   <-    {"granted": id}
                                                   <-    {"refused": id, "reason": TEXT, "retry_after_seconds": S}
                                                   <-    {"revoked": id, "reason": TEXT}   end the request, give it back
    {"give": id}                                   ->    also while waiting: leaves the line

Nothing of aiohttp leaves this module.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import aiohttp

from tritonfleet.errors import FleetError

PATH = "/v1/leases"
_CONNECT_SECONDS = 5.0
#: The supervisor answers at the deadline; this is for one that does not answer at all.
_GRACE_SECONDS = 5.0

#: Ends the request that holds the lease; gets the reason.
Revoked = Callable[[str], None]


class NoLease(FleetError):
    """The model did not get its device in time, or nobody gives leases; the message says which."""

    http_status = 503

    def __init__(self, message: str, retry_after_seconds: float) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


@dataclass
class _Lease:
    answer: asyncio.Future[None]
    revoked: Revoked
    out: bool = field(default=False)


class Leases:
    """The leases of one process; must be made and used in the event loop."""

    def __init__(self, control_socket: str) -> None:
        self._path = control_socket
        self._numbers = itertools.count(1)
        self._leases: dict[int, _Lease] = {}
        self._outgoing: asyncio.Queue[str] = asyncio.Queue()
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._session: aiohttp.ClientSession | None = None
        self._opening = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def hold(self, model: str, seconds: float, revoked: Revoked) -> AsyncIterator[None]:
        """Hold a lease of *model*, waiting for it at most *seconds*; *revoked* must make the block end.

        Raises NoLease. Leaving while it waits, as a cancelled request does, leaves the line.
        """
        await self._open()
        number = next(self._numbers)
        lease = self._leases[number] = _Lease(asyncio.get_running_loop().create_future(), revoked)
        self._outgoing.put_nowait(json.dumps({"take": number, "model": model, "seconds": seconds}))
        try:
            try:
                async with asyncio.timeout(seconds + _GRACE_SECONDS):
                    await lease.answer
            except TimeoutError:
                raise NoLease("the fleet's supervisor gives no answer; see its log", 5.0) from None
            yield
        finally:
            if self._leases.pop(number, None) is not None:
                self._outgoing.put_nowait(json.dumps({"give": number}))

    async def close(self) -> None:
        """Close the connection; what was held is given back."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def _open(self) -> None:
        if self._socket is not None:
            return
        async with self._opening:
            if self._socket is not None:
                return
            if self._session is None:
                self._session = aiohttp.ClientSession(connector=aiohttp.UnixConnector(self._path))
            try:
                async with asyncio.timeout(_CONNECT_SECONDS):
                    socket = await self._session.ws_connect(f"http://supervisor{PATH}", max_msg_size=0)
            except (aiohttp.ClientError, OSError, TimeoutError) as err:
                cause = str(err) or type(err).__name__
                raise NoLease(f"the fleet's supervisor does not answer at {self._path} ({cause})", 5.0) from err
            self._outgoing = asyncio.Queue()
            self._socket = socket
            task = asyncio.create_task(self._serve(socket, self._outgoing), name="leases")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve(self, socket: aiohttp.ClientWebSocketResponse, outgoing: asyncio.Queue[str]) -> None:
        sending = asyncio.create_task(_send_all(socket, outgoing))
        try:
            async for message in socket:
                if message.type is aiohttp.WSMsgType.TEXT:
                    self._take_message(json.loads(message.data))
        finally:
            sending.cancel()
            self._socket = None
            self._lost()
            await socket.close()

    def _take_message(self, message: dict[str, object]) -> None:
        match message:
            case {"granted": int(number)}:
                if (lease := self._leases.get(number)) is not None:
                    lease.out = True
                    _settle(lease.answer, None)
            case {"refused": int(number), "reason": str(reason), "retry_after_seconds": int() | float() as seconds}:
                if (lease := self._leases.pop(number, None)) is not None:
                    _settle(lease.answer, NoLease(reason, seconds))
            case {"revoked": int(number), "reason": str(reason)}:
                if (lease := self._leases.get(number)) is not None:
                    lease.revoked(reason)

    def _lost(self) -> None:
        """The connection is gone: the supervisor counts all leases as given back, so no request may go on."""
        reason = "the connection to the fleet's supervisor was lost"
        leases, self._leases = self._leases, {}
        for lease in leases.values():
            if lease.out:
                lease.revoked(reason)
            else:
                _settle(lease.answer, NoLease(reason, 1.0))


def _settle(answer: asyncio.Future[None], error: NoLease | None) -> None:
    if answer.done():
        return
    if error is None:
        answer.set_result(None)
    else:
        answer.set_exception(error)


async def _send_all(socket: aiohttp.ClientWebSocketResponse, outgoing: asyncio.Queue[str]) -> None:
    with suppress(aiohttp.ClientError, OSError):  # the reader sees the end as well, and tells everybody
        while True:
            await socket.send_str(await outgoing.get())
