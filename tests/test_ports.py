"""Ports that tests use: never one that another test process has, or that somebody listens on."""

from __future__ import annotations

import random
import socket
import subprocess
import sys

import pytest

from tests import ports

#: Prints the ports that another process gets out of the range of its arguments.
OTHER = """
import sys
from tests import ports
ports.PORTS = range(*map(int, sys.argv[1:]))
print(*ports.free_ports(len(ports.PORTS) - 1))
"""


def test_a_taken_port_is_nobody_elses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process gets all the others, and this one gets no port twice."""
    starts = random.sample(range(ports.PORTS.stop, 32700), 100)  # where no other test takes any
    few = next(range(start, start + 4) for start in starts if all(map(_is_free, range(start, start + 4))))
    monkeypatch.setattr(ports, "PORTS", few)
    mine = ports.free_port()
    done = subprocess.run(
        [sys.executable, "-c", OTHER, str(few.start), str(few.stop)], capture_output=True, text=True, check=True
    )
    assert sorted([mine, *map(int, done.stdout.split())]) == list(few)
    assert sorted([mine, *ports.free_ports(3)]) == list(few)
    with pytest.raises(AssertionError, match="no free port"):
        ports.free_port()


def test_where_somebody_listens_is_not_free(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setattr(ports, "PORTS", range(port, port + 1))
        with pytest.raises(AssertionError, match="no free port"):
            ports.free_port()


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
