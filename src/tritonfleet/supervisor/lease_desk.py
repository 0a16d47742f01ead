"""The supervisor's side of leases: one WebSocket for each process that holds some; ``leases`` has the messages."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
from collections.abc import Callable
from typing import Any

from aiohttp import WSMsgType, web

from tritonfleet.supervisor.share import ShareGroup

log = logging.getLogger(__name__)

#: Wait of a client for a model that takes no turns, or that nobody knows.
UNKNOWN_RETRY_SECONDS = 5.0

#: Returns the group of a model; None for one with a device of its own.
GroupOf = Callable[[str], ShareGroup | None]


class LeaseDesk:
    """Gives leases out over WebSockets."""

    def __init__(self, group_of: GroupOf) -> None:
        self._group_of = group_of
        self._numbers = itertools.count(1)
        self._sockets: set[web.WebSocketResponse] = set()

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """Serve one connection until it closes; then everything that was taken over it is given back."""
        # No pings: a process that is busy for a while still has its requests at the engine.
        socket = web.WebSocketResponse(max_msg_size=1 << 16)
        await socket.prepare(request)
        counter = _Counter(next(self._numbers), self._group_of)
        sending = asyncio.create_task(counter.send_all(socket), name="leases")
        self._sockets.add(socket)
        try:
            async for message in socket:
                if message.type is not WSMsgType.TEXT or not counter.take_message(message.data):
                    break
        finally:
            self._sockets.discard(socket)
            sending.cancel()
            counter.give_all_back()
        return socket

    async def close(self) -> None:
        """End all connections."""
        for socket in tuple(self._sockets):
            await socket.close()


class _Counter:
    """The leases of one connection; a group knows each as ``CONNECTION/id``."""

    def __init__(self, connection: int, group_of: GroupOf) -> None:
        self._connection = connection
        self._group_of = group_of
        self._groups: dict[int, ShareGroup] = {}
        self._outgoing: asyncio.Queue[str] = asyncio.Queue()

    def take_message(self, text: str) -> bool:
        """Do what a message asks; return whether it could be understood."""
        try:
            message = json.loads(text)
        except ValueError:
            message = None
        match message:
            case {"take": int(number), "model": str(model), "seconds": int() | float() as seconds}:
                self._take(number, model, seconds)
            case {"give": int(number)}:
                if (group := self._groups.pop(number, None)) is not None:
                    group.give_back(self._name(number))
            case _:
                log.error("a holder of leases sent %.200r", text)
                return False
        return True

    def give_all_back(self) -> None:
        """The connection is gone, and with it every request that went over its process."""
        groups, self._groups = self._groups, {}
        for number, group in groups.items():
            group.give_back(self._name(number))

    async def send_all(self, socket: web.WebSocketResponse) -> None:
        """Send what there is to say, for ever."""
        while True:
            await socket.send_str(await self._outgoing.get())

    # What a group answers; see lease_book.Holder.

    def granted(self, lease: str) -> None:
        """Tell that the lease may be used."""
        self._say(granted=_number(lease))

    def refused(self, lease: str, reason: str, retry_after_seconds: float) -> None:
        """Tell that there is no lease."""
        self._groups.pop(_number(lease), None)
        self._say(refused=_number(lease), reason=reason, retry_after_seconds=retry_after_seconds)

    def revoked(self, lease: str, reason: str) -> None:
        """Tell that the request must end."""
        self._say(revoked=_number(lease), reason=reason)

    def _take(self, number: int, model: str, seconds: float) -> None:
        group = self._group_of(model)
        if group is None:
            reason = f"{model!r} is no model that takes turns on a device"
            self._say(refused=number, reason=reason, retry_after_seconds=UNKNOWN_RETRY_SECONDS)
            return
        self._groups[number] = group
        group.ask(self._name(number), model, seconds, self)

    def _name(self, number: int) -> str:
        return f"{self._connection}/{number}"

    def _say(self, **message: Any) -> None:
        self._outgoing.put_nowait(json.dumps(message))


def _number(lease: str) -> int:
    return int(lease.rpartition("/")[2])
