"""A stage for every test of the gateway."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.gateway.stage import Stage


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """A scripted supervisor and no engines yet; sockets need a short path."""
    with tempfile.TemporaryDirectory(prefix="tfg") as folder:
        made = Stage(Path(folder))
        await made.supervisor.start()
        yield made
        await made.close()
