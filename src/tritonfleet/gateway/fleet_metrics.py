"""The fleet's page: the supervisor's part, asked for over its control socket, and the gateway's own.

Nothing of aiohttp leaves this module.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aiohttp

from tritonfleet.metrics.text import family

#: The supervisor needs a little more than a second where an engine hangs.
SUPERVISOR_SECONDS = 3.0


class FleetMetrics:
    """Makes the page of the whole fleet."""

    def __init__(self, control_socket: str, fleet: str, own: Callable[[], str]) -> None:
        """*own* returns the gateway's families and may take some milliseconds."""
        self._control = control_socket
        self._fleet = fleet
        self._own = own

    async def text(self) -> str:
        """Return the page; without the supervisor's part, and saying so, when that cannot be had in time."""
        own, theirs = await asyncio.gather(asyncio.to_thread(self._own), self._supervisor())
        missing = family("tritonfleet_scrape_part_up", [((self._fleet, "supervisor"), 0)])
        return f"{own}{missing if theirs is None else theirs}"

    async def _supervisor(self) -> str | None:
        timeout = aiohttp.ClientTimeout(total=SUPERVISOR_SECONDS)
        try:
            # A connection a scrape: nothing has to be closed when the gateway ends, and a scrape is rare.
            async with (
                aiohttp.ClientSession(connector=aiohttp.UnixConnector(self._control), timeout=timeout) as session,
                session.get("http://supervisor/v1/metrics") as response,
            ):
                return await response.text() if response.status == 200 else None
        except (aiohttp.ClientError, OSError, TimeoutError):
            return None
