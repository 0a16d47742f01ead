"""What nginx lets through, repeats and refuses, in front of small servers that tell what reached them."""

from __future__ import annotations

import asyncio
import io
import json
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import grpc
import pytest
from aiohttp import web

from tests.deploy.nginx.front import CONFIG, nginx, settings
from tests.ports import free_ports

pytestmark = pytest.mark.deploy

MEBIBYTE = 2**20
#: Directives whose default of 60 s cuts a stream.
STREAM_TIMEOUTS = (
    "client_body_timeout",
    "send_timeout",
    "proxy_read_timeout",
    "proxy_send_timeout",
    "grpc_read_timeout",
    "grpc_send_timeout",
)


@dataclass
class Reached:
    """A server that answers everything and keeps what it was asked."""

    port: int = 0
    paths: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)


@asynccontextmanager
async def server() -> AsyncIterator[Reached]:
    """Serve until the block ends."""
    found = Reached()

    async def answer(request: web.Request) -> web.Response:
        found.paths.append(request.path)
        found.sizes.append(len(await request.read()))
        return web.json_response({"path": request.path})

    app = web.Application(client_max_size=1024 * MEBIBYTE)
    app.router.add_route("*", "/{rest:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        found.port = listener.getsockname()[1]
        await web.SockSite(runner, listener).start()
        yield found
        await runner.cleanup()


def every(port: int) -> dict[int, str]:
    """Return the same server for each of the three doors."""
    return dict.fromkeys((8000, 8001, 9000), f"127.0.0.1:{port}")


ALLOWED = [
    "/v1/chat/completions",
    "/v1/models/acme/support-lora",
    "/v2/rerank",
    "/health",
    "/health/ready",
    "/v2",
    "/v2/health/ready",
    "/v2/models/llama2",
    "/v2/models/Qwen2.5_7b-x/config",
    "/v2/models/llama2/versions/1/infer",
    "/v2/models/llama2/generate_stream?x=%2e%2e",
]
REFUSED = [
    "/",
    "/metrics",
    "/console",
    "/v1x",
    "/v2/health/readyx",
    "/v2/repository/index",
    "/v2/repository/models/llama2/load",
    "/v2/repository/models/llama2/unload",
    "/v2/models/llama2/trace/setting",
    "/v2/trace/setting",
    "/v2/logging",
    "/v2/systemsharedmemory/status",
    "/v2/cudasharedmemory/region/a/register",
    "/v2/models/stats",
    "/inference.GRPCInferenceService/RepositoryModelLoad",
]
TRICKS = [
    "/v2/models/llama2/infer/../../../repository/index",
    "/v2/repository/index/../../models/llama2/infer",
    "/v2/models/llama2%2f..%2f..%2frepository/index",
    "/v2//repository/index",
    "/v2/./repository/index",
    "/v1/%2e%2e/metrics",
]


async def test_only_what_is_named_reaches_the_fleet(tmp_path: Path) -> None:
    async with server() as reached, aiohttp.ClientSession() as session:
        with nginx(tmp_path, every(reached.port)) as front:
            for path in ALLOWED:
                assert await status(front.http_port, path) == 200, path
            passed = [path.partition("?")[0] for path in ALLOWED]
            assert reached.paths == passed
            for path in REFUSED:
                assert await status(front.http_port, path) == 404, path
            for path in TRICKS:
                assert await status(front.http_port, path) == 400, path
            async with session.post(f"{front.url}/v2/repository/models/llama2/load", json={}) as response:
                assert response.status == 404
    assert reached.paths == passed, "nothing refused came through"


async def status(port: int, path: str) -> int:
    """Return the status of a GET whose path is sent as it is; HTTP clients would tidy it up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: fleet\r\nConnection: close\r\n\r\n".encode())
    await writer.drain()
    line = await reader.readline()
    writer.close()
    await writer.wait_closed()
    return int(line.split()[1])


def test_calls_that_manage_triton_are_unknown_over_grpc(tmp_path: Path) -> None:
    with nginx(tmp_path, every(free_ports(1)[0])) as front, grpc.insecure_channel(front.grpc) as channel:
        for method in (
            "RepositoryModelLoad",
            "RepositoryIndex",
            "TraceSetting",
            "LogSettings",
            "CudaSharedMemoryStatus",
        ):
            call = channel.unary_unary(f"/inference.GRPCInferenceService/{method}")
            with pytest.raises(grpc.RpcError) as caught:
                call(b"", timeout=10)
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED, method


async def test_a_large_body_goes_through_and_a_larger_one_is_refused(tmp_path: Path) -> None:
    assert settings()["client_max_body_size"] == "64m"
    async with server() as reached, aiohttp.ClientSession() as session:
        with nginx(tmp_path, every(reached.port)) as front:
            async with session.post(f"{front.url}/v1/completions", data=io.BytesIO(bytes(63 * MEBIBYTE))) as response:
                assert response.status == 200
            async with session.post(f"{front.url}/v1/completions", data=io.BytesIO(bytes(65 * MEBIBYTE))) as response:
                assert response.status == 413
    assert reached.sizes == [63 * MEBIBYTE]


async def test_another_server_is_tried_while_nothing_was_sent(tmp_path: Path) -> None:
    (nobody,) = free_ports(1)
    async with server() as reached, aiohttp.ClientSession() as session:
        servers = every(reached.port) | {9000: f"127.0.0.1:{nobody}; server 127.0.0.1:{reached.port}"}
        with nginx(tmp_path, servers) as front:
            for _ in range(4):
                async with session.post(f"{front.url}/v1/completions", json={}) as response:
                    assert response.status == 200
    assert len(reached.paths) == 4


async def test_a_prompt_that_was_sent_is_never_sent_again(tmp_path: Path) -> None:
    async with server() as reached, breaking() as broken, aiohttp.ClientSession() as session:
        both = f"127.0.0.1:{broken.port} max_fails=0; server 127.0.0.1:{reached.port} max_fails=0"
        with nginx(tmp_path, every(reached.port) | {9000: both}) as front:
            found = []
            for number in range(6):
                async with session.post(f"{front.url}/v1/completions", json={"number": number}) as response:
                    found.append(response.status)
    assert set(found) == {200, 502}
    assert found.count(200) == len(reached.paths)
    assert found.count(502) == len(broken.paths), "each prompt reached one server, once"


@asynccontextmanager
async def breaking() -> AsyncIterator[Reached]:
    """Read requests and break the connection without a word."""
    found = Reached()

    async def read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = re.search(r"content-length: (\d+)", head, re.IGNORECASE)
        body = await reader.readexactly(int(length[1]) if length else 0)
        found.paths.append(str(json.loads(body)["number"]))
        writer.close()

    running = await asyncio.start_server(read, "127.0.0.1", 0)
    async with running:
        found.port = running.sockets[0].getsockname()[1]
        yield found


def test_no_timeout_of_a_stream_is_left_at_a_minute() -> None:
    assert {settings()[name] for name in STREAM_TIMEOUTS} == {"3600s"}


def test_the_file_is_what_nginx_reads(tmp_path: Path) -> None:
    """Directives are found by text: no line of the file is in a form that is overlooked."""
    lines = [line.strip() for line in CONFIG.read_text().splitlines()]
    assert len([line for line in lines if line.startswith("location ")]) == 6
    for name in (*STREAM_TIMEOUTS, "proxy_next_upstream", "grpc_next_upstream", "proxy_buffering"):
        assert len([line for line in lines if line.startswith(f"{name} ")]) == 1, name
