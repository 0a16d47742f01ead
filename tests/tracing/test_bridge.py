"""The bridge's span: below Triton's, above the engine's, sent without OpenTelemetry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from tests.bridge.fakes import field, serving
from tests.tracing.collector import collecting
from tritonfleet.bridge import trace
from tritonfleet.bridge.generation import Embedding, Generation, Raw, parse
from tritonfleet.bridge.trace import AT_ONCE, SpanSender, TraceSettings, read_context
from tritonfleet.wire import Endpoint, Route

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED = f"00-{TRACE}-{PARENT}-01"
ROUTE = Route("m", "vllm", "m", (Endpoint(uds="/x"),))


class Engine:
    """Answers with two tokens, and remembers the headers."""

    def __init__(self, status: int = 200) -> None:
        self.seen: list[str | None] = []
        self._status = status

    async def answer(self, request: web.Request) -> web.Response:
        self.seen.append(request.headers.get("traceparent"))
        if request.path.endswith("embeddings"):
            return web.json_response({"data": [{"embedding": [1.0]}], "usage": {"prompt_tokens": 1}})
        choice = {"index": 0, "text": "hi", "finish_reason": "stop"}
        body = {"choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}
        return web.json_response(body, status=self._status)


def sender(url: str, complaints: list[str] | None = None) -> SpanSender:
    settings = TraceSettings(f"{url}/v1/traces", "tritonfleet-bridge", "demo")
    return SpanSender(settings, "m", (complaints if complaints is not None else []).append)


@pytest.mark.parametrize(
    "request_", [Generation("hello", request_id="r1", traceparent=SAMPLED), Embedding("hello", traceparent=SAMPLED)]
)
async def test_a_traced_request(tmp_path: Path, request_: Any) -> None:
    engine = Engine()
    with collecting() as collector:
        spans = sender(collector.url)
        async with serving(socket=tmp_path / "e", handler=engine.answer), field(tmp_path / "e", spans=spans) as here:
            await here.fly(request_)
            [span] = await collector.until(lambda seen: len(seen) == 1)
        await spans.close()
    assert (span.service, span.name) == ("tritonfleet-bridge", "bridge m")
    assert (span.trace_id, span.parent_id) == (TRACE, PARENT)
    assert span.attributes["gen_ai.request.model"] == "m"
    assert span.resource["tritonfleet.fleet"] == "demo"
    assert 0 < span.seconds < 10
    assert engine.seen == [f"00-{TRACE}-{span.span_id}-01"]
    if isinstance(request_, Generation):
        assert span.error is None
        assert span.attributes["tritonfleet.outcome"] == "success"
        assert span.attributes["tritonfleet.request_id"] == "r1"


async def test_a_failed_request_is_an_error(tmp_path: Path) -> None:
    with collecting() as collector:
        spans = sender(collector.url)
        async with (
            serving(socket=tmp_path / "e", handler=Engine(500).answer),
            field(tmp_path / "e", spans=spans) as here,
        ):
            await here.fly(Generation("hello", traceparent=SAMPLED))
            [span] = await collector.until(lambda seen: len(seen) == 1)
        await spans.close()
    assert span.error == span.attributes["tritonfleet.outcome"] == "failed"


@pytest.mark.parametrize("context", ["", f"00-{TRACE}-{PARENT}-00"])
async def test_a_request_that_is_not_traced_has_no_span(tmp_path: Path, context: str) -> None:
    engine = Engine()
    with collecting() as collector:
        spans = sender(collector.url)
        async with serving(socket=tmp_path / "e", handler=engine.answer), field(tmp_path / "e", spans=spans) as here:
            await here.fly(Generation("hello", traceparent=context))
            await here.fly(Generation("hello", traceparent=SAMPLED))
            assert len(await collector.until(lambda seen: len(seen) == 1)) == 1
        await spans.close()
    assert engine.seen[0] == (context or None), "what the client said goes on to the engine"


async def test_without_a_collector_the_context_goes_on_to_the_engine(tmp_path: Path) -> None:
    engine = Engine()
    async with serving(socket=tmp_path / "e", handler=engine.answer), field(tmp_path / "e") as here:
        await here.fly(Generation("hello", traceparent=SAMPLED))
    assert engine.seen == [SAMPLED]


async def test_a_collector_that_is_away_is_complained_of_once() -> None:
    with collecting() as collector:
        gone = collector.url
    complaints: list[str] = []
    spans = sender(gone, complaints)
    for _ in range(3):
        span = spans.begin(SAMPLED)
        assert span is not None
        spans.end(span, {}, "", None)
        await spans.close()
    assert len(complaints) == 1
    assert "takes no spans" in complaints[0]


async def test_spans_never_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    most = AT_ONCE + 100
    monkeypatch.setattr(trace, "MOST_WAITING", most)
    with collecting() as collector:
        spans = sender(collector.url)
        for _ in range(most + 10):
            span = spans.begin(SAMPLED)
            assert span is not None
            spans.end(span, {"n": 1}, "", span.started)
        await spans.close()
        assert len(await collector.until(lambda seen: len(seen) >= most)) == most


@pytest.mark.parametrize(
    ("parameters", "own", "expected"),
    [
        ("{}", "", ""),
        ("{}", SAMPLED, SAMPLED),
        (f'{{"traceparent": "{SAMPLED}"}}', "", SAMPLED),
        (f'{{"traceparent": "{SAMPLED}"}}', SAMPLED.replace("b7", "c7"), SAMPLED.replace("b7", "c7")),
        (f'{{"traceparent": "{SAMPLED}"}}', SAMPLED.replace("0af", "0bf"), SAMPLED),
        ('{"traceparent": "nonsense"}', "", ""),
        ('{"traceparent": 3}', "", ""),
    ],
)
def test_where_the_context_comes_from(parameters: str, own: str, expected: str) -> None:
    raw = Raw({"text_input": [b"hi"]}, parameters=parameters, traceparent=own)
    request = parse(raw, ROUTE)
    assert request.traceparent == expected
    assert isinstance(request, Generation)
    assert "traceparent" not in request.sampling


@pytest.mark.parametrize(
    ("text", "sampled"),
    [
        (SAMPLED, True),
        (f"00-{TRACE}-{PARENT}-00", False),
        (f"01-{TRACE}-{PARENT}-03-more", True),
        (f" {SAMPLED} ", True),
    ],
)
def test_well_formed_contexts(text: str, sampled: bool) -> None:
    found = read_context(text)
    assert found is not None
    assert (found.trace_id, found.span_id, found.sampled) == (TRACE, PARENT, sampled)


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", SAMPLED.upper(), SAMPLED[:-1], f"{SAMPLED}-more", f"ff-{TRACE}-{PARENT}-01"),
        *(f"00-{'0' * 32}-{PARENT}-01", f"00-{TRACE}-{'0' * 16}-01"),
    ],
)
def test_malformed_contexts_count_as_absent(text: str) -> None:
    assert read_context(text) is None


@given(st.text(max_size=60))
def test_any_text_can_be_looked_at(text: str) -> None:
    read_context(text)


def test_off_without_the_variable() -> None:
    assert TraceSettings.read(None) is None
    assert TraceSettings.read("") is None
