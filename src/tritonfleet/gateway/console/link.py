"""The console's questions to the supervisor, on its control socket. Nothing of aiohttp leaves this module."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import quote

import aiohttp

from tritonfleet.gateway.problem import Problem

TIMEOUT_SECONDS = 10.0
#: Sleep and wake answer once they are done, and a wake may be a whole start.
ACT_SECONDS = 900.0
#: Viewers that ask within this time share one answer of the supervisor.
FRESH_SECONDS = 0.5


class SupervisorLink:
    """Asks the supervisor; every call raises Problem, 503 when nobody answers, else with the supervisor's words."""

    def __init__(self, control_socket: str) -> None:
        self._path = control_socket
        self._session: aiohttp.ClientSession | None = None
        self._status: asyncio.Task[dict[str, Any]] | None = None
        self._status_until = 0.0

    async def status(self) -> dict[str, Any]:
        """Return the fleet's status as JSON, see ``FleetStatus``."""
        now = asyncio.get_running_loop().time()
        if self._status is None or now > self._status_until:
            self._status = asyncio.create_task(self._json("GET", "/v1/status"))
            self._status_until = now + FRESH_SECONDS
        return await asyncio.shield(self._status)

    async def history(self, after: float) -> dict[str, Any]:
        """Return the samples newer than *after*, in seconds since 1970."""
        return await self._json("GET", f"/v1/history?after={after:.3f}")

    async def memory(self) -> dict[str, Any]:
        """Return the plan's pools of memory."""
        return await self._json("GET", "/v1/memory")

    async def logs(self, name: str, lines: int) -> str:
        """Return the last *lines* of the logs of a model, ``triton``, ``gateway`` or ``supervisor``."""
        return await self._ask("GET", f"/v1/logs/{quote(name, safe='')}?lines={lines}")

    async def act(self, model: str, action: str) -> dict[str, Any]:
        """Have *action* done to *model*: load, unload, sleep or wake."""
        return await self._json("POST", f"/v1/models/{quote(model, safe='')}/{action}", ACT_SECONDS)

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def _json(self, method: str, path: str, timeout_seconds: float = TIMEOUT_SECONDS) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(await self._ask(method, path, timeout_seconds))
        return found

    async def _ask(self, method: str, path: str, timeout_seconds: float = TIMEOUT_SECONDS) -> str:
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.UnixConnector(self._path))
        timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        try:
            async with self._session.request(method, f"http://supervisor{path}", timeout=timeout) as response:
                text = await response.text()
        except (aiohttp.ClientError, OSError, TimeoutError) as err:
            raise Problem(
                503,
                "supervisor_away",
                f"the fleet's supervisor does not answer ({str(err) or type(err).__name__}); is the fleet stopping?",
                retry_after_seconds=2.0,
            ) from err
        if response.status >= 400:
            raise _problem(response.status, text)
        return text


def _problem(status: int, text: str) -> Problem:
    try:
        message = str(json.loads(text)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        message = f"the supervisor answered {status}"
    return Problem(status, "fleet_error", message)
