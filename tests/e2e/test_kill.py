"""Whatever is killed, in whatever state: afterwards nothing is left, or the fleet is healthy; clients get an error.

The real tritonserver with fake engines, which start fast and can be told to dawdle; `test_kill_vllm.py` kills the
processes of a real vLLM.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.e2e.conftest import FleetMaker, RunningFleet
from tests.e2e.requests import Outcome, generate, stream
from tritonfleet.supervisor import lock
from tritonfleet.supervisor.triton import stub_pids

pytestmark = pytest.mark.e2e

Victim = Callable[[RunningFleet], int]


def supervisor(fleet: RunningFleet) -> int:
    return fleet.supervisor_pid


def triton(fleet: RunningFleet) -> int:
    pid = fleet.status().triton_pid
    assert pid is not None
    return pid


def stub(fleet: RunningFleet) -> int:
    return next(pid for pid, model in stub_pids(triton(fleet)).items() if model == "alpha")


def api_server(fleet: RunningFleet) -> int:
    pid = fleet.status().models[0].replicas[0].pid
    assert pid is not None
    return pid


def core(fleet: RunningFleet) -> int:
    return psutil.Process(api_server(fleet)).children()[0].pid


VICTIMS = [supervisor, triton, stub, api_server, core]


def model(name: str, **engine_args: Any) -> dict[str, Any]:
    return {
        "name": name,
        "source": "demo://llama2",
        "engine": "fake",
        "engine_args": {"spawn_child": True, "tpot_ms": 50, **engine_args},
    }


LIFECYCLE = {"backoff_seconds": 0.2, "probe_seconds": 0.3, "stop_seconds": 2, "drain_seconds": 20}


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until *condition* holds; the fleet offers no event for what is only seen from outside."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def healthy(fleet: RunningFleet) -> bool:
    """Whether the fleet is up and both models answer."""
    if lock.holder(fleet.layout) is None:
        return False
    return all(generate(fleet, name, tokens=2).ok for name in ("alpha", "beta"))


def in_background(work: Callable[[], Outcome]) -> tuple[threading.Thread, list[Outcome]]:
    outcomes: list[Outcome] = []
    thread = threading.Thread(target=lambda: outcomes.append(work()))
    thread.start()
    return thread, outcomes


def check_afterwards(fleet: RunningFleet, victim: Victim) -> None:
    if victim is supervisor:
        assert not fleet.wait_all_gone()
        assert not fleet.layout.sockets.exists()
        assert not list(Path("/dev/shm").glob(f"tf{fleet.layout.sockets.name[-12:]}_*"))
    else:
        wait_for(lambda: healthy(fleet))


@pytest.mark.parametrize("victim", VICTIMS, ids=lambda victim: victim.__name__)
def test_killed_while_ready(maker: Callable[..., RunningFleet], victim: Victim) -> None:
    fleet = maker([model("alpha"), model("beta")], lifecycle=LIFECYCLE)
    client, outcomes = in_background(lambda: stream(fleet, "alpha", tokens=200))
    wait_for(lambda: (fleet.status().models[0].replicas[0].running or 0) > 0)
    os.kill(victim(fleet), signal.SIGKILL)
    client.join(timeout=60)
    assert not client.is_alive(), "the client hangs"
    if victim is not core:  # the fake engine's child does nothing that a request would miss
        assert not outcomes[0].ok
    check_afterwards(fleet, victim)


@pytest.mark.parametrize("victim", [supervisor, triton, api_server, core], ids=lambda victim: victim.__name__)
def test_killed_while_starting(tmp_path: Path, victim: Victim) -> None:
    factory = FleetMaker(tmp_path)
    fleet = factory.write([model("alpha", start_seconds=6), model("beta", start_seconds=6)], lifecycle=LIFECYCLE)
    thread = threading.Thread(target=lambda: fleet.command("up", "--detach"))
    thread.start()
    try:
        wait_for(lambda: started(fleet))
        os.kill(victim(fleet), signal.SIGKILL)
        thread.join(timeout=90)
        assert not thread.is_alive()
        check_afterwards(fleet, victim)
    finally:
        thread.join(timeout=90)
        factory.down(fleet)


def started(fleet: RunningFleet) -> bool:
    """Whether Triton runs, and the engine with its child, none of them ready yet."""
    done = fleet.command("status", "--json")
    if done.returncode != 0:
        return False
    status = fleet.status()
    pid = status.models[0].replicas[0].pid if status.models else None
    return pid is not None and status.triton_pid is not None and bool(psutil.Process(pid).children())


@pytest.mark.parametrize("victim", VICTIMS, ids=lambda victim: victim.__name__)
def test_killed_while_draining(maker: Callable[..., RunningFleet], victim: Victim) -> None:
    fleet = maker([model("alpha"), model("beta")], lifecycle=LIFECYCLE)
    pid = victim(fleet)
    client, _ = in_background(lambda: stream(fleet, "alpha", tokens=200))
    wait_for(lambda: (fleet.status().models[0].replicas[0].running or 0) > 0)
    down = threading.Thread(target=lambda: fleet.command("down"))
    down.start()
    wait_for(lambda: fleet.status().state == "draining")
    os.kill(pid, signal.SIGKILL)
    client.join(timeout=60)
    assert not client.is_alive(), "the client hangs"
    assert not fleet.wait_all_gone()
    down.join(timeout=60)
    assert not fleet.layout.sockets.exists()
