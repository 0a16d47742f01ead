"""The supervisor's small HTTP conversations with an engine: health and metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from enum import Enum

import aiohttp

from tritonfleet.engines.base import Call
from tritonfleet.wire import Endpoint


class Health(Enum):
    """What a health probe saw."""

    OK = "ok"
    SICK = "sick"
    """It answered with an error."""
    SILENT = "silent"
    """No connection or no answer in time."""


class EngineHttp:
    """A client of one engine."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._session: aiohttp.ClientSession | None = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            uds = self._endpoint.uds
            # A fresh connection a probe: a kept one can break while the engine restarts.
            connector = aiohttp.UnixConnector(uds, force_close=True) if uds else aiohttp.TCPConnector(force_close=True)
            self._session = aiohttp.ClientSession(connector=connector)
        return self._session

    async def health(self, call: Call, timeout_seconds: float) -> Health:
        """Ask once whether the engine serves."""
        try:
            status, _ = await self.send(call, timeout_seconds)
        except (OSError, TimeoutError):
            return Health.SILENT
        return Health.OK if status == 200 else Health.SICK

    async def send(self, call: Call, timeout_seconds: float) -> tuple[int, str]:
        """Send *call* and return status and body; raise ConnectionError or TimeoutError without an answer."""
        headers = {"Content-Type": "application/json"} if call.body else None
        url = self._endpoint.base_url + call.path
        try:
            async with (
                asyncio.timeout(timeout_seconds),
                self._open().request(call.method, url, data=call.body or None, headers=headers) as response,
            ):
                return response.status, await response.text()
        except aiohttp.ClientError as err:
            raise ConnectionError(str(err) or type(err).__name__) from err

    async def gauges(self, call: Call, names: Iterable[str], timeout_seconds: float) -> dict[str, float]:
        """Return the sums over all series of the metrics called *names*; nothing when there is no answer."""
        try:
            status, text = await self.send(call, timeout_seconds)
        except (OSError, TimeoutError):
            return {}
        return sums(text, names) if status == 200 else {}

    async def close(self) -> None:
        """Close the connection."""
        if self._session is not None:
            await self._session.close()


def sums(text: str, names: Iterable[str]) -> dict[str, float]:
    """Sum the samples of each metric of *names* in Prometheus *text*; absent metrics are absent."""
    wanted = set(names)
    found: dict[str, float] = {}
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        name = line.partition("{")[0].partition(" ")[0]
        if name in wanted:
            value = line.rpartition("}")[2].split() if "}" in line else line.split()[1:]
            found[name] = found.get(name, 0.0) + float(value[0])
    return found
