"""The engine's door, against an OpenAI server on a Unix socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from tritonfleet.bench.engine_door import EngineDoor
from tritonfleet.bench.target import Target
from tritonfleet.client.messages import GenerateRequest, ModelInfo
from tritonfleet.errors import ConnectionLost, RequestRefused, RequestTimeout, Unreachable
from tritonfleet.wire import Endpoint

INFO = ModelInfo("m", frozenset({"text_input"}), {})


class Engine:
    """Answers in the way that its *mode* says."""

    def __init__(self) -> None:
        self.mode = "ok"
        self.bodies: list[dict[str, object]] = []

    async def models(self, request: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "served"}] if self.mode == "ok" else []})

    async def version(self, request: web.Request) -> web.Response:
        return web.json_response({"version": "0.32.0"})

    async def completions(self, request: web.Request) -> web.StreamResponse:
        self.bodies.append(await request.json())
        if self.mode == "refuse":
            return web.json_response({"error": {"message": "too long"}}, status=400)
        response = web.StreamResponse()
        await response.prepare(request)
        for text, reason in (("한", None), ("국", "length")):
            await self._event(response, {"choices": [{"text": text, "finish_reason": reason}]})
        if self.mode == "error":
            await self._event(response, {"error": {"message": "engine died"}})
        if self.mode == "slow":
            await self._event(response, {"choices": []})
            await asyncio.Event().wait()
        if self.mode == "ok":
            usage = {"completion_tokens": 2, "prompt_tokens": 5}
            await self._event(response, {"choices": [], "usage": usage})
            await response.write(b"data: [DONE]\n\n")
        return response

    async def _event(self, response: web.StreamResponse, data: object) -> None:
        await response.write(f"data: {json.dumps(data)}\n\n".encode())


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[tuple[Engine, EngineDoor]]:
    """An engine on a Unix socket, and the door to it."""
    scripted = Engine()
    app = web.Application()
    app.router.add_get("/v1/models", scripted.models)
    app.router.add_get("/version", scripted.version)
    app.router.add_post("/v1/completions", scripted.completions)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.UnixSite(runner, str(tmp_path / "e.sock")).start()
    door = EngineDoor(Endpoint(uds=str(tmp_path / "e.sock")))
    yield scripted, door
    await door.close()
    await runner.cleanup()


async def test_sample(engine: tuple[Engine, EngineDoor]) -> None:
    """Tokens are those of the usage chunk, which is itself no token; the body asks for it."""
    scripted, door = engine
    found = await Target("engine", door, INFO).sample("p", {"max_tokens": 2})
    assert found.output_tokens == 2
    assert 0 < found.ttft_seconds <= found.latency_seconds
    assert scripted.bodies == [
        {"model": "m", "prompt": "p", "stream": True, "stream_options": {"include_usage": True}, "max_tokens": 2}
    ]


async def test_about(engine: tuple[Engine, EngineDoor]) -> None:
    """The engine tells its version and the name of its model."""
    scripted, door = engine
    assert await door.version() == "vLLM 0.32.0"
    assert await door.served_name() == "served"
    scripted.mode = "empty"
    with pytest.raises(Unreachable, match="serves no model"):
        await door.served_name()


@pytest.mark.parametrize(
    ("mode", "error", "message"),
    [
        ("refuse", RequestRefused, "answered 400: .*too long"),
        ("error", RequestRefused, "engine died"),
        ("cut", ConnectionLost, "before the answer was complete"),
        ("slow", RequestTimeout, "in time"),
    ],
)
async def test_failures(engine: tuple[Engine, EngineDoor], mode: str, error: type[Exception], message: str) -> None:
    """Whatever goes wrong is an error of ours that says what."""
    scripted, door = engine
    scripted.mode = mode
    with pytest.raises(error, match=message):
        async for _ in door.stream(GenerateRequest("m", "p"), INFO, 0.3):
            pass


async def test_nobody_there(tmp_path: Path) -> None:
    """A socket without an engine is named."""
    door = EngineDoor(Endpoint(uds=str(tmp_path / "none.sock")))
    with pytest.raises(Unreachable, match=r"none\.sock"):
        await door.version()
    with pytest.raises(Unreachable, match=r"none\.sock"):
        async for _ in door.stream(GenerateRequest("m", "p"), INFO, 1):
            pass
    await door.close()
