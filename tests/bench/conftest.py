"""Fake engines as the servers that the load goes to, shared by all tests of a worker: they take a second to start."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tritonfleet.bench.crew import Crew
from tritonfleet.bench.doors import Place


@contextmanager
def fake_engine(uds: Path, *options: str) -> Iterator[Place]:
    argv = [sys.executable, "-m", "tritonfleet.fake_engine", "--uds", str(uds), "--served-model-name", "llama"]
    with subprocess.Popen([*argv, *options], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert any("is served" in line for line in iter(process.stderr.readline, ""))
        try:
            yield Place("engine", "engine", f"unix:{uds}", "llama")
        finally:
            process.terminate()


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """An engine that answers at once."""
    with fake_engine(tmp_path_factory.mktemp("engine") / "s") as place:
        yield place


@pytest.fixture(scope="session")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """An engine that fails every second request."""
    with fake_engine(tmp_path_factory.mktemp("faulty") / "s", "--error-rate", "0.5") as place:
        yield place


@pytest.fixture(scope="session")
def crew() -> Iterator[Crew]:
    """Two load generators."""
    with Crew(2) as made:
        yield made
