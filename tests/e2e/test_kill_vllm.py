"""The processes of a real vLLM killed under load: clients get an error, the model comes back."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from functools import partial

import psutil
import pytest

from tests.e2e.conftest import RunningFleet
from tests.e2e.requests import generate, stream_until_cut
from tests.e2e.test_kill import wait_for

pytestmark = pytest.mark.e2e


def api_server(fleet: RunningFleet) -> int:
    pid = fleet.status().models[0].replicas[0].pid
    assert pid is not None
    return pid


def engine_core(fleet: RunningFleet) -> int:
    """vLLM renames its engine core's process."""
    children = psutil.Process(api_server(fleet)).children(recursive=True)
    return next(child.pid for child in children if "EngineCore" in " ".join(child.cmdline()))


@pytest.mark.timeout(400)
def test_a_killed_vllm_fails_its_requests_and_comes_back(maker: Callable[..., RunningFleet]) -> None:
    model = {"name": "alpha", "source": "demo://llama2", "devices": "cpu"}
    fleet = maker([model], lifecycle={"backoff_seconds": 0.2, "probe_seconds": 0.5, "drain_seconds": 20})
    for victim in (api_server, engine_core):
        before, pid = api_server(fleet), victim(fleet)
        outcome = stream_until_cut(fleet, "alpha", partial(os.kill, pid, signal.SIGKILL))
        assert outcome.text.startswith("data:")
        assert not outcome.ok
        wait_for(lambda: generate(fleet, "alpha", tokens=2).ok, seconds=180)
        assert api_server(fleet) != before
