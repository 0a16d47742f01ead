"""The bridge's side of the supervisor's control socket; the routes are described in ``wire``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import aiohttp

from tritonfleet.bridge.failure import BridgeError, Unavailable
from tritonfleet.wire import ModelStatus, Route, load

#: An engine's start takes minutes and has its own deadline in the supervisor.
_PATIENT = aiohttp.ClientTimeout(total=None, sock_connect=5)
_BRISK = aiohttp.ClientTimeout(total=2)


class ControlSocket:
    """Asks the supervisor; every method raises BridgeError with the supervisor's own words."""

    def __init__(self, path: str) -> None:
        self._path = path

    async def acquire(self, model: str, version: str, model_dir: Path) -> Route:
        """Start *model*'s engines if need be and wait until one serves."""
        body = {"model": model, "version": version, "model_dir": str(model_dir)}
        return load(Route, await self._call("POST", "/v1/bridge/acquire", body, _PATIENT))

    async def release(self, model: str, version: str) -> None:
        """Tell that this instance needs the engines no more."""
        await self._call("POST", "/v1/bridge/release", {"model": model, "version": version}, _BRISK)

    async def reason(self, model: str) -> str:
        """Return why *model* does not serve, in the supervisor's words; what is known if it cannot be asked."""
        try:
            status = load(ModelStatus, await self._call("GET", f"/v1/models/{model}", None, _BRISK))
        except BridgeError as err:
            return str(err)
        replicas = [_trouble(entry) for entry in status.replicas if entry.state != "ready"]
        reasons = [status.reason, *replicas]
        return next((reason for reason in reasons if reason), "") or f"the supervisor says that it is {status.state}"

    async def _call(
        self, method: str, path: str, body: dict[str, Any] | None, timeout: aiohttp.ClientTimeout
    ) -> dict[str, Any]:
        connector = aiohttp.UnixConnector(self._path)
        try:
            async with (
                aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
                session.request(method, f"http://supervisor{path}", json=body) as response,
            ):
                text = await response.text()
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError) as err:
            raise Unavailable(
                f"the fleet's supervisor does not answer at {self._path} ({type(err).__name__}: {err}); "
                "is `tritonfleet up` still running?"
            ) from err
        return _checked(status, text)


def _trouble(replica: Any) -> str:
    """Return what a replica's status tells about its trouble."""
    return f"replica {replica.replica} is {replica.state}{f': {replica.reason}' if replica.reason else ''}"


def _checked(status: int, text: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except ValueError:
        raise BridgeError(f"the supervisor answered {status} with something else than JSON: {text[:200]!r}") from None
    if status != 200:
        error = data.get("error", {}) if isinstance(data, dict) else {}
        raise Unavailable(str(error.get("message") or f"the supervisor answered {status}: {text[:200]}"))
    if not isinstance(data, dict):
        raise BridgeError(f"the supervisor answered with something else than an object: {text[:200]!r}")
    return data
