"""Fixtures of the bridge's tests: a stage with fake engines, shared by a module, and the pure parts' routes."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.bridge.stage import Engine, Supervisor, Triton, start_engine, start_triton
from tritonfleet import runtimes
from tritonfleet.layout import cache_folder
from tritonfleet.progress import silent
from tritonfleet.wire import Route


@dataclass
class Stage:
    """Everything that a test needs to talk to the bridge through Triton."""

    folder: Path
    supervisor: Supervisor
    triton: Triton
    engines: list[Engine] = field(default_factory=list)

    def engine(self, name: str, *flags: str) -> Engine:
        """Start a fake engine for the model *name*."""
        number = len(self.engines)
        socket = self.folder / f"e{number}.sock"
        argv = [sys.executable, "-m", "tritonfleet.fake_engine", "--uds", str(socket), "--served-model-name", name]
        engine = start_engine([*argv, *flags], socket, self.folder / f"e{number}.log")
        self.engines.append(engine)
        return engine

    def route(self, name: str, *engines: Engine, **fields: Any) -> Route:
        """Tell the supervisor's stand-in where the model's engines are."""
        options = {"engine": "fake", **fields}
        route = Route(model=name, served_name=name, endpoints=tuple(engine.endpoint for engine in engines), **options)
        self.supervisor.routes[name] = route
        return route

    def model(self, name: str, *flags: str, config: str = 'backend: "vllm"\n', **fields: Any) -> Engine:
        """Start an engine, write the model and load it."""
        engine = self.engine(name, *flags)
        self.route(name, engine, **fields)
        self.triton.add(name, config, {"model": name})
        self.triton.load(name)
        return engine


@pytest.fixture(scope="session")
def triton_runtime() -> Any:
    """Return the Triton of this machine, building it if it is missing."""
    return runtimes.ensure("triton", "auto", cache=cache_folder(os.environ), environ=os.environ, progress=silent)


@pytest.fixture(scope="module")
def stage(triton_runtime: Any) -> Iterator[Stage]:
    """Start a tritonserver that has the bridge and no models yet."""
    # Not pytest's folder: the path of a Unix socket has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="tfb-") as name:
        folder = Path(name)
        supervisor = Supervisor(folder / "control.sock")
        supervisor.start()
        triton = start_triton(triton_runtime, folder, supervisor.socket)
        built = Stage(folder, supervisor, triton)
        try:
            yield built
            triton.stop()
        finally:
            triton.process.kill()
            for engine in built.engines:
                engine.stop()
            supervisor.stop()
