"""Real fleets for end-to-end tests: the real command, the real tritonserver, real vLLM engines on the CPU."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.ports import free_ports
from tritonfleet.layout import Layout, layout
from tritonfleet.supervisor import keeper, lock
from tritonfleet.supervisor.process import MARKER_VARIABLE
from tritonfleet.wire import FleetStatus, load

COMMAND = [sys.executable, "-m", "tritonfleet"]
#: Two CPU engines on two busy cores have been seen to need a minute and a half.
UP_SECONDS = 300


@dataclass(frozen=True)
class RunningFleet:
    """A fleet that the command line brought up."""

    name: str
    spec_path: Path
    layout: Layout
    http: int
    grpc: int
    metrics: int
    openai: int

    def command(self, *words: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run ``tritonfleet WORD SPEC --state FOLDER ...``."""
        argv = [*COMMAND, words[0], str(self.spec_path), *words[1:], "--state", str(self.layout.state)]
        return subprocess.run(argv, capture_output=True, text=True, timeout=timeout, check=False)

    def status(self) -> FleetStatus:
        """Return what `tritonfleet status --json` prints."""
        done = self.command("status", "--json")
        assert done.returncode == 0, done.stderr
        return load(FleetStatus, json.loads(done.stdout))

    @property
    def supervisor_pid(self) -> int:
        """Process id of the supervisor."""
        pid = lock.holder(self.layout)
        assert pid is not None
        return pid

    def processes(self) -> set[int]:
        """Return the ids of all living processes of the fleet, keepers and janitor included."""
        return keeper.marked(f"{MARKER_VARIABLE}={self.layout.sockets}")

    def wait_all_gone(self, seconds: float = 60) -> set[int]:
        """Wait for every process of the fleet to end; return those that did not."""
        for pid in self.processes():
            try:
                handle = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            select.select([handle], [], [], seconds)
            os.close(handle)
        return self.processes()


@dataclass(frozen=True)
class FleetMaker:
    """Writes a spec with free ports into a folder and brings it up."""

    folder: Path

    def write(self, models: list[dict[str, Any]], name: str = "test", **sections: Any) -> RunningFleet:
        """Write the spec; start nothing."""
        http, grpc, metrics, openai = free_ports(4)
        doors = {
            "http": {"port": http},
            "grpc": {"port": grpc},
            "metrics": {"port": metrics},
            "openai": {"port": openai},
        }
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump({"name": name, "models": models, "doors": doors, **sections}))
        home = layout(name, os.environ, os.getuid(), self.folder / f"state-{name}")
        return RunningFleet(name, path, home, http, grpc, metrics, openai)

    def up(self, models: list[dict[str, Any]], name: str = "test", *, expect: int = 0, **sections: Any) -> RunningFleet:
        """Write the spec and bring the fleet up; *expect* is the exit status of `up --detach`."""
        fleet = self.write(models, name, **sections)
        done = fleet.command("up", "--detach", timeout=UP_SECONDS)
        assert done.returncode == expect, f"{done.stdout}\n{done.stderr}\n{_logs(fleet)}"
        return fleet

    def down(self, fleet: RunningFleet) -> None:
        """Stop the fleet if it runs, and check that it left nothing."""
        if lock.holder(fleet.layout) is not None:
            done = fleet.command("down", "--drain", "5")
            assert done.returncode == 0, f"{done.stderr}\n{_logs(fleet)}"
        left = fleet.wait_all_gone()
        assert not left, f"left behind: {left}\n{_logs(fleet)}"
        assert not fleet.layout.sockets.exists()


def _logs(fleet: RunningFleet) -> str:
    parts = []
    for path in sorted(fleet.layout.logs.glob("*.log")):
        parts += [f"==> {path.name} <==", path.read_text(errors="replace")[-4000:]]
    return "\n".join(parts)


@pytest.fixture
def maker(tmp_path: Path) -> Iterator[Callable[..., RunningFleet]]:
    """Bring fleets up; each is taken down, and checked for leftovers, at the end."""
    fleets: list[RunningFleet] = []
    factory = FleetMaker(tmp_path)

    def make(*arguments: Any, **options: Any) -> RunningFleet:
        fleet = factory.up(*arguments, **options)
        fleets.append(fleet)
        return fleet

    yield make
    for fleet in fleets:
        factory.down(fleet)


@pytest.fixture(scope="session")
def demo_fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningFleet]:
    """Bring the two demo models up on real vLLM engines, once for all tests that only send requests."""
    factory = FleetMaker(tmp_path_factory.mktemp("demo"))
    fleet = factory.up(
        [
            {"name": "llama2", "source": "demo://llama2", "devices": "cpu", "max_model_len": 512},
            {"name": "mistral7b", "source": "demo://mistral7b", "devices": "cpu", "max_model_len": 512},
        ],
        name="demo",
    )
    yield fleet
    factory.down(fleet)
