"""Find out before anything starts whether the doors' ports are free."""

from __future__ import annotations

import socket

import psutil

from tritonfleet.errors import AlreadyRunning, UsageError
from tritonfleet.spec.models import Doors


def check(doors: Doors) -> None:
    """Raise AlreadyRunning naming each taken port and who has it."""
    taken = [
        f"doors.{name}: port {door.port} is taken{_by(door.port)}"
        for name, door in doors
        if not _is_free(door.host, door.port)
    ]
    if taken:
        raise AlreadyRunning("; ".join(taken) + "; stop that program, or choose other ports under `doors`")


def _is_free(host: str, port: int) -> bool:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror as err:
        raise UsageError(f"doors: {host!r} is not an address of this machine ({err.strerror})") from err
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError:
            return False
    return True


def _by(port: int) -> str:
    try:
        for connection in psutil.net_connections("tcp"):
            address = connection.laddr
            if connection.status == psutil.CONN_LISTEN and address and address.port == port and connection.pid:
                return f" by {psutil.Process(connection.pid).name()} (process {connection.pid})"
    except psutil.Error:
        return ""
    return ""
