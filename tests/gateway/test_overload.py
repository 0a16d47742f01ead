"""Too much, too large, too slow: each ends with a clear error, and nothing is left behind."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.gateway.stage import Stage, eventually
from tritonfleet.gateway import exchange

PROMPT: dict[str, Any] = {"model": "llama2", "prompt": "one two three", "max_tokens": 3}
ENDLESS = {**PROMPT, "max_tokens": 2000, "ignore_eos": True}


@pytest.fixture
def _quick_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "LOOK_SECONDS", 0.05)


async def test_requests_over_the_limit_wait_then_get_429(stage: Stage) -> None:
    replica = await stage.engine(tpot_ms=20)
    await stage.serve(replica)
    async with stage.gateway(max_running=2, max_waiting=1):
        running = [asyncio.create_task(stage.post({**PROMPT, "max_tokens": 20, "ignore_eos": True})) for _ in range(2)]
        await eventually(lambda: replica.running == 2)
        waiting = asyncio.create_task(stage.post(PROMPT))
        await stage.until_metric('tritonfleet_gateway_requests_waiting{model="llama2"}', 1)
        status, body, headers = await stage.post(PROMPT)
        assert (status, body["error"]["code"], body["error"]["src"]) == (429, "overloaded", "gateway")
        assert int(headers["retry-after"]) >= 1
        assert replica.running <= 2
        assert [status for status, _, _ in await asyncio.gather(*running, waiting)] == [200, 200, 200]
        assert await stage.metric('tritonfleet_gateway_refused_total{code="overloaded"}') == 1
        # What costs the engine nothing does not stand in line.
        assert (await stage.post({"model": "llama2", "prompt": "x"}, "/tokenize"))[0] == 200


async def test_a_client_that_leaves_the_line_frees_its_place(stage: Stage) -> None:
    replica = await stage.engine(tpot_ms=20)
    await stage.serve(replica)
    async with stage.gateway(max_running=1, max_waiting=1):
        running = asyncio.create_task(stage.post(ENDLESS))
        await eventually(lambda: replica.running == 1)
        waiting = asyncio.create_task(stage.post(PROMPT))
        await stage.until_metric('tritonfleet_gateway_requests_waiting{model="llama2"}', 1)
        waiting.cancel()
        await stage.until_metric('tritonfleet_gateway_requests_waiting{model="llama2"}', 0)
        running.cancel()
        assert (await stage.post(PROMPT))[0] == 200


@pytest.mark.parametrize("chunked", [True, False])
async def test_a_body_over_the_limit_is_413(stage: Stage, chunked: bool) -> None:
    replica = await stage.engine()
    await stage.serve(replica)
    async with stage.gateway(max_body_bytes=100_000):
        reader, writer = await raw_connection(stage)
        length = b"transfer-encoding: chunked" if chunked else b"content-length: 200000"
        writer.write(b"POST /v1/completions HTTP/1.1\r\nhost: x\r\n" + length + b"\r\n\r\n")
        if chunked:
            writer.write(b"30d40\r\n" + b" " * 200_000 + b"\r\n0\r\n\r\n")
        head, body = (await reader.read()).split(b"\r\n\r\n", 1)
        writer.close()
    assert head.startswith(b"HTTP/1.1 413")
    assert json.loads(body)["error"]["code"] == "content_too_large"
    assert replica.bodies == []


async def test_bodies_that_are_held_have_a_limit_together(stage: Stage) -> None:
    replica = await stage.engine()
    await stage.serve(replica)
    async with stage.gateway(max_held_bytes=300_000):
        for _ in range(4):  # what is done is not held any more
            assert (await stage.post({**PROMPT, "extra": "x" * 200_000}))[0] == 200
        status, body, _ = await stage.post({**PROMPT, "extra": "x" * 400_000})
    assert (status, body["error"]["code"]) == (429, "overloaded")


async def test_a_compressed_body_is_415(stage: Stage) -> None:
    await stage.serve(await stage.engine())
    async with stage.gateway():
        status, body, _ = await stage.post(b"xxxx", headers={"Content-Encoding": "gzip"})
    assert (status, body["error"]["code"]) == (415, "unsupported_encoding")


async def raw_connection(stage: Stage) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = stage.url.removeprefix("http://").split(":")
    return await asyncio.open_connection(host, int(port), limit=2**16)


async def test_headers_that_do_not_come_close_the_connection(stage: Stage) -> None:
    await stage.serve(await stage.engine())
    async with stage.gateway(header_seconds=0.2):
        for sent in (b"", b"GET /health HTTP/1.1\r\nhost"):
            reader, writer = await raw_connection(stage)
            writer.write(sent)
            assert await asyncio.wait_for(reader.read(), 5) == b""
            writer.close()
        # After a whole request, the same holds for the headers of the next one.
        reader, writer = await raw_connection(stage)
        writer.write(b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n")
        assert (await reader.readuntil(b"}")).endswith(b'"live"}')
        writer.write(b"GET /hea")
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()


async def test_headers_without_end_are_refused(stage: Stage) -> None:
    await stage.serve(await stage.engine())
    async with stage.gateway():
        reader, writer = await raw_connection(stage)
        writer.write(b"GET /health HTTP/1.1\r\nx: " + b"y" * 70_000)
        assert (await asyncio.wait_for(reader.read(), 5)).startswith(b"HTTP/1.1 400")
        writer.close()


async def test_an_idle_connection_is_closed(stage: Stage) -> None:
    await stage.serve(await stage.engine())
    async with stage.gateway(idle_seconds=1.0):
        reader, writer = await raw_connection(stage)
        writer.write(b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n")
        await reader.readuntil(b"}")
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()


@pytest.mark.usefixtures("_quick_look")
async def test_a_body_that_stops_coming_is_408(stage: Stage) -> None:
    await stage.serve(await stage.engine())
    async with stage.gateway(stall_seconds=0.2):
        reader, writer = await raw_connection(stage)
        writer.write(b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
        assert (await asyncio.wait_for(reader.readline(), 5)).startswith(b"HTTP/1.1 408")
        writer.close()


@pytest.mark.usefixtures("_quick_look")
async def test_an_engine_that_says_nothing_is_504_and_the_request_is_aborted(stage: Stage) -> None:
    replica = await stage.engine(ttft_ms=60_000)
    await stage.serve(replica)
    async with stage.gateway(engine_silence_seconds=0.2):
        status, body, _ = await stage.post(PROMPT)
        assert (status, body["error"]["code"], body["error"]["src"]) == (504, "engine_timeout", "engine")
        await eventually(lambda: replica.running == 0)


@pytest.mark.usefixtures("_quick_look")
async def test_a_slow_but_steady_stream_is_not_interrupted(stage: Stage) -> None:
    await stage.serve(await stage.engine(tpot_ms=100))
    async with stage.gateway(engine_silence_seconds=0.5):
        status, text, _ = await stage.post({**PROMPT, "max_tokens": 10, "ignore_eos": True, "stream": True})
    assert (status, text.count("data: ")) == (200, 11)


@pytest.mark.usefixtures("_quick_look")
async def test_a_client_that_does_not_read_is_let_go(stage: Stage) -> None:
    replica = await stage.engine(max_model_len=10_000_000)
    await stage.serve(replica)
    async with stage.gateway(stall_seconds=0.3):
        _, writer = await raw_connection(stage)
        body = json.dumps({**PROMPT, "max_tokens": 5_000_000, "ignore_eos": True, "stream": True}).encode()
        writer.write(b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        await eventually(lambda: replica.running == 1)
        await eventually(lambda: replica.running == 0, seconds=60)
        assert replica.finished == {"abort": 1}
        writer.close()


async def test_a_full_engine_is_left_to_another_replica(stage: Stage) -> None:
    from aiohttp import web

    async def busy(_: web.Request) -> web.Response:
        return web.json_response({"error": {"message": "too many requests"}}, status=429, headers={"Retry-After": "7"})

    app = web.Application()
    app.router.add_post("/v1/completions", busy)
    full, well = await stage.engine(app=app), await stage.engine()
    await stage.serve(full, well)
    async with stage.gateway():
        for number in range(6):
            assert (await stage.post({**PROMPT, "prompt": f"conversation {number}"}))[0] == 200
        await stage.serve(full)
        await eventually(lambda: stage.supervisor.polls >= 3)
        status, body, headers = await stage.post(PROMPT)
    assert (status, body["error"]["src"], headers["retry-after"]) == (429, "engine", "7")
