"""Follow the fleet's routes on the supervisor's control socket. Nothing of aiohttp leaves this module."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable

import aiohttp

from tritonfleet.wire import Route, load

log = logging.getLogger(__name__)

#: Wait before the supervisor is asked again after it did not answer, or answered with nothing new.
AGAIN_SECONDS = 0.5
#: A long poll is renewed after this time, so that a dead connection is noticed.
POLL_SECONDS = 60.0

#: Gets the routes whenever they changed.
Changed = Callable[[tuple[Route, ...]], None]


class RouteWatch:
    """Keeps the gateway's routes like the supervisor's; while that is away, the last ones stay."""

    def __init__(self, control_socket: str, changed: Changed) -> None:
        self._path = control_socket
        self._changed = changed
        self._routes: tuple[Route, ...] | None = None
        self._away = False

    async def run(self) -> None:
        """Follow, for ever."""
        timeout = aiohttp.ClientTimeout(total=POLL_SECONDS, sock_connect=5)
        async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(self._path), timeout=timeout) as session:
            revision = -1
            while True:
                before = revision
                try:
                    revision = await self._ask(session, revision)
                except TimeoutError:
                    continue
                except (aiohttp.ClientError, OSError, ValueError, KeyError, TypeError) as err:
                    self._note_away(err)
                    revision = -1  # another supervisor counts from the start
                if revision == before or revision == -1:
                    await asyncio.sleep(AGAIN_SECONDS)

    async def _ask(self, session: aiohttp.ClientSession, after: int) -> int:
        async with session.get(f"http://supervisor/v1/routes?after={after}") as response:
            response.raise_for_status()
            answer = json.loads(await response.read())
        revision = int(answer["revision"])
        routes = tuple(load(Route, entry) for entry in answer["routes"])
        if self._away:
            log.info("the supervisor answers again")
            self._away = False
        if routes != self._routes:
            self._routes = routes
            self._changed(routes)
        return revision

    def _note_away(self, err: Exception) -> None:
        if not self._away:
            log.warning("the supervisor does not answer at %s (%s); the last routes stay", self._path, err)
            self._away = True
