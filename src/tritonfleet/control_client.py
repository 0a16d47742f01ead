"""Talk to a running supervisor over its control socket, from the command line."""

from __future__ import annotations

import http.client
import json
import socket
from pathlib import Path
from typing import Any

from tritonfleet import errors
from tritonfleet.errors import FleetError, NotRunning
from tritonfleet.wire import FleetStatus, load


class _UnixConnection(http.client.HTTPConnection):
    """http.client over a Unix socket."""

    def __init__(self, path: Path, timeout_seconds: float) -> None:
        super().__init__("supervisor", timeout=timeout_seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class ControlClient:
    """A client of one fleet's supervisor; every call raises NotRunning when nobody answers."""

    def __init__(self, control_socket: Path, fleet: str) -> None:
        self._socket = control_socket
        self._fleet = fleet

    def status(self) -> FleetStatus:
        """Return the state of the fleet."""
        return load(FleetStatus, self._call("GET", "/v1/status"))

    def stop(self, drain_seconds: float | None) -> None:
        """Ask the fleet to drain and stop; returns at once."""
        self._call("POST", "/v1/stop", {"drain_seconds": drain_seconds})

    def _call(self, method: str, path: str, body: object = None) -> Any:
        connection = _UnixConnection(self._socket, timeout_seconds=10.0)
        try:
            connection.request(method, path, body=json.dumps(body or {}))
            response = connection.getresponse()
            data = json.loads(response.read() or b"{}")
        except (OSError, http.client.HTTPException, ValueError) as err:
            raise NotRunning(
                f"the fleet {self._fleet!r} is not running ({err}); start it with `tritonfleet up`"
            ) from err
        finally:
            connection.close()
        if response.status != 200:
            error = data.get("error", {})
            kind = getattr(errors, str(error.get("kind")), FleetError)
            raise kind(error.get("message", f"the supervisor answered {response.status}"))
        return data
