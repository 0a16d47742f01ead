"""The door of several pools: the real gateway in front of stand-ins for pods, found by name."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.ports import free_ports
from tritonfleet.deploy.door import Directory, DoorModel, read_table, routes_of
from tritonfleet.errors import UsageError

LLAMA = DoorModel("llama2", "guide-llama2-pods", 9000, ("legal",), 4096)


def test_every_ready_pod_is_an_endpoint() -> None:
    (route,) = routes_of([LLAMA], {LLAMA.service: ("10.1.0.7", "fd00::1")})
    assert [endpoint.base_url for endpoint in route.endpoints] == ["http://10.1.0.7:9000", "http://[fd00::1]:9000"]
    assert (route.state, route.loras, route.max_model_len) == ("ready", ("legal",), 4096)


def test_a_pool_without_pods_says_so() -> None:
    (route,) = routes_of([LLAMA], {LLAMA.service: ()})
    assert (route.endpoints, route.state, route.reason) == ((), "starting", "none of its pods is ready")


@pytest.mark.parametrize(
    "text", ["", "[]", '{"models": [{"model": "a"}]}', '{"fleet": "a", "models": [], "gateway": {"x": 1}}']
)
def test_a_broken_table_is_named(text: str, tmp_path: Path) -> None:
    path = tmp_path / "door.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"door\.json does not tell the models behind the door"):
        read_table(path)


async def test_the_last_pods_stay_while_dns_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[Any] = [
        ["10.1.0.7"],
        socket.gaierror(socket.EAI_AGAIN, "try again"),
        socket.gaierror(socket.EAI_NONAME, "no"),
    ]

    async def getaddrinfo(*_: object, **__: object) -> list[Any]:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return [(0, 0, 0, "", (host, 9000)) for host in answer]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    directory = Directory([LLAMA])
    found = []
    for _ in range(3):
        await directory.look()
        found.append(len(directory.routes()[0].endpoints))
    assert found == [1, 1, 0]


async def test_requests_reach_the_pool_of_their_model(tmp_path: Path) -> None:
    async with (
        pod("llama2") as llama,
        pod("mistral7b") as mistral,
        door(tmp_path, llama=llama, mistral=mistral) as url,
        aiohttp.ClientSession(url) as session,
    ):
        for model in ("llama2", "mistral7b"):
            async with session.post("/v1/completions", json={"model": model, "prompt": "x"}) as response:
                assert response.status == 200
                assert (await response.json())["served_by"] == model
        async with session.post("/v1/completions", json={"model": "lama2", "prompt": "x"}) as response:
            assert response.status == 404
            assert "did you mean 'llama2'" in (await response.json())["error"]["message"]
        async with session.get("/v1/models") as response:
            assert [entry["id"] for entry in (await response.json())["data"]] == ["llama2", "mistral7b"]
        async with session.get("/health/ready") as response:
            assert response.status == 200


@asynccontextmanager
async def pod(name: str) -> AsyncIterator[int]:
    """Serve like a pod's own OpenAI door; return its port."""

    async def answer(request: web.Request) -> web.Response:
        body = await request.json()
        return web.json_response({"served_by": name, "model": body["model"], "choices": [{"text": "y"}]})

    app = web.Application()
    app.router.add_post("/v1/completions", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    with free_port() as listener:
        await web.SockSite(runner, listener).start()
        yield listener.getsockname()[1]
        await runner.cleanup()


@contextmanager
def free_port() -> Iterator[socket.socket]:
    """Return a listening socket on a port that nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@asynccontextmanager
async def door(folder: Path, *, llama: int, mistral: int) -> AsyncIterator[str]:
    """Run the door until the block ends; it must then stop by itself, without an error."""
    table = folder / "door.json"
    models = [
        {"model": "llama2", "service": "localhost", "port": llama},
        {"model": "mistral7b", "service": "127.0.0.1", "port": mistral},
    ]
    table.write_text(json.dumps({"fleet": "guide", "models": models}))
    (port,) = free_ports(1)
    argv = ["-m", "tritonfleet.deploy.door", str(table), "--host", "127.0.0.1", "--port", str(port)]
    process = await asyncio.create_subprocess_exec(sys.executable, *argv, "--keys", str(folder / "keys.json"))
    url = f"http://127.0.0.1:{port}"
    try:
        await ready(url)
        yield url
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 20) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def ready(url: str) -> None:
    """Return once the door serves."""
    async with asyncio.timeout(30), aiohttp.ClientSession(url) as session:
        while True:
            try:
                async with session.get("/health/ready") as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientConnectionError:
                pass
            await asyncio.sleep(0.05)
