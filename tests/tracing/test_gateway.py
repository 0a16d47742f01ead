"""The door's span: below the client's, above the engine's, with what became of the request."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.gateway.conftest import stage as stage
from tests.gateway.stage import Stage, eventually
from tests.tracing.collector import Collector, SeenSpan, collecting

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PROMPT: dict[str, Any] = {"model": "llama2", "prompt": "one two three", "max_tokens": 3}


@asynccontextmanager
async def traced(stage: Stage, collector: Collector, **options: Any) -> AsyncIterator[None]:
    async with stage.gateway(traces=f"{collector.url}/v1/traces", fleet="demo", **options):
        yield


async def one(collector: Collector) -> SeenSpan:
    [span] = await collector.until(lambda spans: len(spans) == 1)
    return span


@pytest.mark.parametrize("stream", [True, False])
async def test_a_request_of_a_trace(stage: Stage, stream: bool) -> None:
    engine = await stage.engine()
    await stage.serve(engine)
    with collecting() as collector:
        async with traced(stage, collector):
            headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=1", "x-request-id": "mine"}
            status, _, _ = await stage.post({**PROMPT, "stream": stream}, headers=headers)
            assert status == 200
            span = await one(collector)
    assert (span.service, span.name) == ("tritonfleet-gateway", "POST /v1/completions")
    assert (span.trace_id, span.parent_id) == (TRACE, PARENT)
    assert span.resource["tritonfleet.fleet"] == "demo"
    assert span.error is None
    assert span.events == ("first bytes",)
    told = span.attributes
    assert told["gen_ai.request.model"] == "llama2"
    assert told["http.response.status_code"] == 200
    assert told["http.response.body.size"] > 10
    assert told["tritonfleet.request_id"] == "mine"
    assert engine.headers[0]["traceparent"] == f"00-{TRACE}-{span.span_id}-01", "the engine's span is below the door's"
    assert engine.headers[0]["tracestate"] == "vendor=1"


async def test_a_request_without_a_trace_begins_one(stage: Stage) -> None:
    engine = await stage.engine()
    await stage.serve(engine)
    with collecting() as collector:
        async with traced(stage, collector):
            await stage.post(PROMPT)
            span = await one(collector)
    assert span.parent_id == ""
    assert engine.headers[0]["traceparent"].startswith(f"00-{span.trace_id}-{span.span_id}-")


async def test_a_clients_no_is_a_no_for_all(stage: Stage) -> None:
    engine = await stage.engine()
    await stage.serve(engine)
    with collecting() as collector:
        async with traced(stage, collector):
            await stage.post(PROMPT, headers={"traceparent": f"00-{TRACE}-{PARENT}-00"})
            await stage.post(PROMPT, headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
            await one(collector)
    assert re.fullmatch(rf"00-{TRACE}-[0-9a-f]{{16}}-00", engine.headers[0]["traceparent"])


async def test_a_refused_request_and_one_whose_engine_failed(stage: Stage) -> None:
    await stage.serve()
    with collecting() as collector:
        async with traced(stage, collector):
            assert (await stage.post({**PROMPT, "model": "lama2"}))[0] == 404
            assert (await stage.post(PROMPT))[0] == 503
            refused, failed = await collector.until(lambda spans: len(spans) == 2)
    assert refused.attributes["http.response.status_code"] == 404
    assert refused.error is None, "a client's mistake is no error of the server"
    assert failed.error == "status 503"


async def test_a_client_that_leaves(stage: Stage) -> None:
    engine = await stage.engine(tpot_ms=50.0)
    await stage.serve(engine)
    with collecting() as collector:
        async with traced(stage, collector):
            body = {**PROMPT, "stream": True, "max_tokens": 2000, "ignore_eos": True}
            async with stage.session.post("/v1/completions", json=body) as answer:
                await answer.content.readany()
                answer.close()
            await eventually(lambda: engine.running == 0)
            span = await one(collector)
    assert span.error is not None
    assert "not completed" in span.error


async def test_pages_of_the_gateway_are_not_traced(stage: Stage) -> None:
    await stage.serve(await stage.engine())
    with collecting() as collector:
        async with traced(stage, collector):
            for path in ("/health", "/metrics", "/v1/models"):
                async with stage.session.get(path) as answer:
                    assert answer.status == 200
            await stage.post(PROMPT)
            assert (await one(collector)).name == "POST /v1/completions"


async def test_a_collector_that_is_away_costs_no_request(stage: Stage) -> None:
    await stage.serve(await stage.engine())
    with collecting() as collector:
        gone = collector.url
    async with asyncio.timeout(30), stage.gateway(traces=f"{gone}/v1/traces"):
        assert [(await stage.post(PROMPT))[0] for _ in range(5)] == [200] * 5


async def test_without_traces_the_clients_context_passes_untouched(stage: Stage) -> None:
    engine = await stage.engine()
    await stage.serve(engine)
    async with stage.gateway():
        await stage.post(PROMPT, headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
    assert engine.headers[0]["traceparent"] == f"00-{TRACE}-{PARENT}-01"
