"""The OpenAI door of a real fleet, as a fixture."""

from __future__ import annotations

import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from tests.e2e.conftest import RunningFleet
from tritonfleet.gateway import GatewayOptions, command


@contextmanager
def openai_door(fleet: RunningFleet) -> Iterator[str]:
    """Give the URL of the fleet's OpenAI door; one is started where the fleet has none."""
    url = f"http://127.0.0.1:{fleet.openai}"
    with socket.socket() as probe:
        served = probe.connect_ex(("127.0.0.1", fleet.openai)) == 0
    if served:
        yield url
        return
    options = GatewayOptions(control=str(fleet.layout.control_socket), port=fleet.openai)
    with subprocess.Popen(command(options)) as process:
        try:
            _wait_ready(url)
            yield url
        finally:
            process.terminate()


def _wait_ready(url: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5):
                return
        except (urllib.error.URLError, ConnectionError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
