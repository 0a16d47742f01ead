"""Ports of the tests' own: two test processes never get the same one, and no outgoing connection takes one."""

from __future__ import annotations

import random
import socket
from contextlib import suppress

#: Below the ports that Linux gives to outgoing connections.
PORTS = range(18400, 28400)


def free_port() -> int:
    """Return a loopback port that nobody listens on; it is this process's until it ends."""
    for port in random.sample(PORTS, len(PORTS)):
        if _nobody_listens(port) and _take(port):
            return port
    raise AssertionError(f"no free port in {PORTS}")


def free_ports(count: int) -> list[int]:
    """Return *count* different ports like `free_port`."""
    return [free_port() for _ in range(count)]


def _nobody_listens(port: int) -> bool:
    with socket.socket() as probe, suppress(OSError):
        probe.bind(("127.0.0.1", port))
        return True
    return False


def _take(port: int) -> bool:
    """Bind a name that says whose the port is; the system gives it back when this process ends, however it ends."""
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0tritonfleet-test-port-{port}")
    except OSError:
        claim.close()
        return False
    claim.detach()
    return True
