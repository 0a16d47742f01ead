"""Start the fake engine as a process, and talk to it."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp

#: A fake engine that is not up by then will never be, on a busy machine too.
DEADLINE_SECONDS = 30.0


@dataclass
class FakeEngine:
    """A running fake engine."""

    process: asyncio.subprocess.Process
    session: aiohttp.ClientSession
    socket: str
    log_path: Path

    def url(self, path: str) -> str:
        """Return the address of *path*; the host means nothing on a Unix socket."""
        return f"http://engine{path}"

    async def get(self, path: str) -> tuple[int, str]:
        """Return status and body."""
        async with self.session.get(self.url(path)) as response:
            return response.status, await response.text()

    async def post(self, path: str, body: object = None) -> tuple[int, Any]:
        """Return status and decoded body."""
        async with self.session.post(self.url(path), json=body) as response:
            return response.status, await response.json()

    async def complete(self, prompt: Any, **more: Any) -> dict[str, Any]:
        """Return the answer to a completion request that must succeed."""
        status, body = await self.post("/v1/completions", {"prompt": prompt, **more})
        assert status == 200, body
        return dict(body)

    async def events(self, path: str, body: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Yield the events of a stream, and check that it ends as the API says."""
        async with self.session.post(self.url(path), json={**body, "stream": True}) as response:
            assert response.status == 200
            assert response.content_type == "text/event-stream"
            ended = False
            async for line in response.content:
                if not line.strip():
                    continue
                assert not ended
                assert line.startswith(b"data: ")
                ended = line.strip() == b"data: [DONE]"
                if not ended:
                    yield json.loads(line[6:])
            assert ended

    async def metric(self, name: str, label: str = "") -> float:
        """Return one sample of /metrics."""
        _, text = await self.get("/metrics")
        lines = [line for line in text.splitlines() if line.startswith(f"vllm:{name}{{") and label in line]
        assert len(lines) == 1, (name, lines)
        return float(lines[0].rpartition(" ")[2])

    async def until(self, name: str, value: float, label: str = "") -> None:
        """Wait until a metric has a value."""

        async def reached() -> bool:
            return await self.metric(name, label) == value

        await eventually(reached)

    async def exit_status(self) -> int:
        """Wait for the end of the process."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await self.process.wait()

    def log(self) -> str:
        """Return what it wrote so far."""
        return self.log_path.read_text()


async def eventually(check: Callable[[], Awaitable[bool]]) -> None:
    """Ask again and again until *check* says yes; for what sends no event."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            if await check():
                return
            await asyncio.sleep(0.01)


@asynccontextmanager
async def fake_engine(*options: str, ready: bool = True) -> AsyncIterator[FakeEngine]:
    """Start a fake engine, wait until it answers unless *ready* is false, and end it."""
    with tempfile.TemporaryDirectory(prefix="tf-fake-") as folder:
        socket, log_path = str(Path(folder) / "e.sock"), Path(folder) / "log"
        command = [sys.executable, "-m", "tritonfleet.fake_engine", "--uds", socket, *options]
        # A file, not a pipe: a child that outlives the engine would hold a pipe open.
        with log_path.open("wb") as log:
            process = await asyncio.create_subprocess_exec(*command, stderr=log)
        try:
            async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(socket, limit=0)) as session:
                engine = FakeEngine(process, session, socket, log_path)
                if ready:
                    await eventually(partial(_is_ready, engine))
                yield engine
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def _is_ready(engine: FakeEngine) -> bool:
    assert engine.process.returncode is None, engine.log()
    try:
        return (await engine.get("/health"))[0] == 200
    except (aiohttp.ClientError, OSError):
        return False
