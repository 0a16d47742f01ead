"""Requests on their way: streams, failures at every point, cancellation, deadlines, replicas."""

from __future__ import annotations

import asyncio
import json
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.bridge.fakes import Field, RecordingResponder, eventually, field, serving
from tritonfleet.bridge.failure import Code
from tritonfleet.bridge.flight import CANCELLED, CANCELLING, UNHEALTHY
from tritonfleet.bridge.generation import Embedding, Generation, Outputs
from tritonfleet.fake_engine.engine import Engine
from tritonfleet.fake_engine.options import Options
from tritonfleet.fake_engine.server import Server

PROMPT = "the quick brown fox jumps over the lazy dog"
STREAM = Generation(PROMPT, stream=True, sampling={"max_tokens": 6}, outputs=Outputs(num_output_tokens=True))


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder whose path is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="tfb-") as name:
        yield Path(name)


class FakeEngine:
    """The shipped fake engine, served in the test's own loop."""

    def __init__(self, socket: Path, **options: Any) -> None:
        self.socket = socket
        self.engine = Engine(Options(model="m", **options))
        self._runner = web.AppRunner(
            Server(self.engine).application(), handler_cancellation=True, shutdown_timeout=0.1, access_log=None
        )

    @property
    def running(self) -> int:
        """The engine's own count."""
        return self.engine.scheduler.running

    async def __aenter__(self) -> FakeEngine:
        await self._runner.setup()
        await web.UnixSite(self._runner, str(self.socket)).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()


@pytest.fixture
async def engine(folder: Path) -> AsyncIterator[FakeEngine]:
    """Serve a quick engine."""
    async with FakeEngine(folder / "e.sock") as serving_engine:
        yield serving_engine


async def test_a_stream_ends_with_the_final_flag_on_its_last_text(engine: FakeEngine) -> None:
    """Only new text in each response, counts that add up, no empty response at the end."""
    async with field(engine.socket) as ground:
        responder = await ground.fly(STREAM)
    assert responder.text == "the quick brown fox jumps over"
    assert [final for _, final in responder.sent] == [False] * (len(responder.sent) - 1) + [True]
    assert responder.sent[-1][0]["text_output"] != [b""]
    assert sum(outputs["num_output_tokens"][0] for outputs, _ in responder.sent) == 6


@pytest.mark.parametrize("senders", [0, 1, 3])
async def test_tokens_join_while_a_response_is_on_its_way(engine: FakeEngine, senders: int) -> None:
    """Whatever the senders do, the text is whole and in order; a slow Triton makes fewer responses."""
    async with field(engine.socket, senders=senders) as ground:
        gate = threading.Event()
        gate.set() if senders == 0 else None
        responders = [RecordingResponder(gate) for _ in range(20)]
        flights = [ground.launch(STREAM, responder) for responder in responders]
        if senders:
            await eventually(lambda: all(f.delivery.answer and f.delivery.answer.finished for f in flights))
            gate.set()
        await eventually(lambda: all(responder.done.is_set() for responder in responders))
    assert {responder.text for responder in responders} == {"the quick brown fox jumps over"}
    if senders:
        # At most `senders` responses were on their way when the engine was done; all others hold the whole answer.
        assert sum(len(responder.sent) for responder in responders) <= 20 + senders


async def test_many_streams_on_few_cores_get_joined_tokens(folder: Path) -> None:
    """The first token at once, then no response sooner than the pace allows; alone a stream gets every token."""
    async with FakeEngine(folder / "e.sock", tpot_ms=4) as steady, field(steady.socket) as ground:
        request = Generation(PROMPT, stream=True, sampling={"max_tokens": 40, "ignore_eos": True})
        alone = await ground.fly(request)
        crowd = await asyncio.gather(*(ground.fly(request) for _ in range(16)))
    assert {responder.text for responder in crowd} == {alone.text}
    assert len(alone.sent) > 30
    # On a busy machine the engine itself takes longer, and tokens come together: fewer than alone is what is sure.
    assert all(len(responder.sent) < len(alone.sent) for responder in crowd)
    assert sum(len(responder.sent) for responder in crowd) < 16 * 20
    assert all(responder.sent[0][0]["text_output"][0].startswith(b"the") for responder in crowd)


async def test_a_whole_answer_is_one_response(engine: FakeEngine) -> None:
    """With the prompt first, and every choice."""
    async with field(engine.socket) as ground:
        responder = await ground.fly(Generation(PROMPT, echo=True, n=2, sampling={"max_tokens": 2}))
    assert responder.sent == [({"text_output": [f"{PROMPT}the quick".encode(), f"{PROMPT}quick brown".encode()]}, True)]


async def test_the_blueprints_answers_repeat_all_text(engine: FakeEngine) -> None:
    """TEXT is the prompt and everything so far, in each response."""
    request = Generation("a b", stream=True, echo=True, cumulative=True, sampling={"max_tokens": 3})
    async with field(engine.socket) as ground:
        responder = await ground.fly(request)
    texts = [outputs["TEXT"][0].decode() for outputs, _ in responder.sent]
    assert texts[-1] == "a ba b"
    assert all(later.startswith(earlier) for earlier, later in pairwise(texts))


async def test_logprobs_have_one_entry_per_token(engine: FakeEngine) -> None:
    """And the likeliest tokens' texts join to the answer."""
    outputs = Outputs(logprobs=True, cumulative_logprob=True, num_output_tokens=True)
    request = Generation(PROMPT, stream=True, logprobs=2, outputs=outputs, sampling={"max_tokens": 4})
    async with field(engine.socket) as ground:
        responder = await ground.fly(request)
    entries = []
    for sent, _ in responder.sent:
        rendered = json.loads(sent["logprobs"][0])
        assert len(rendered) == sent["num_output_tokens"][0]
        entries += rendered
    likeliest = [next(v["decoded_token"] for v in entry.values() if v["rank"] == 1) for entry in entries]
    assert "".join(likeliest) == responder.text
    assert all(1 <= len(entry) <= 3 for entry in entries)
    assert responder.sent[-1][0]["cumulative_logprob"][0] < 0


async def test_a_cancelled_request_leaves_the_engine(folder: Path) -> None:
    """The engine's own running count falls, and the two lines of NVIDIA's backend are in the log."""
    async with FakeEngine(folder / "e.sock", tpot_ms=20) as slow, field(slow.socket) as ground:
        responder = RecordingResponder()
        flight = ground.launch(
            Generation(PROMPT, stream=True, sampling={"max_tokens": 2000, "ignore_eos": True}), responder
        )
        await eventually(lambda: len(responder.sent) > 2)
        assert slow.running == 1
        flight.cancel()
        flight.cancel()
        await eventually(lambda: slow.running == 0)
        await ground.landing(flight)
    assert responder.error is not None
    assert (str(responder.error), responder.error.code) == ("Request was cancelled", Code.CANCELLED)
    assert ground.log.lines == [CANCELLING, CANCELLED]


@pytest.mark.parametrize("stream", [True, False])
async def test_a_deadline_aborts_the_request(folder: Path, stream: bool) -> None:
    """The request's own, or the model's default; the engine stops."""
    async with (
        FakeEngine(folder / "e.sock", tpot_ms=20) as slow,
        field(slow.socket, timeout_seconds=0.2) as ground,
    ):
        endless = {"max_tokens": 2000, "ignore_eos": True}
        first = await ground.fly(Generation(PROMPT, stream=stream, sampling=endless))
        second = await ground.fly(Generation(PROMPT, stream=stream, sampling=endless, timeout_seconds=0.1))
        await eventually(lambda: slow.running == 0)
    assert str(first.error) == "Request timeout expired: no complete answer within 0.2 s"
    assert str(second.error) == "Request timeout expired: no complete answer within 0.1 s"
    assert second.error is not None
    assert second.error.code is Code.UNAVAILABLE


async def test_an_engine_that_is_not_there(folder: Path) -> None:
    """The error names model and engine, and the supervisor's reason."""
    async with field(folder / "none.sock") as ground:
        responder = await ground.fly(STREAM)
    assert responder.error is not None
    assert responder.error.code is Code.UNAVAILABLE
    assert "Error generating stream: m: the fake engine does not answer (unix:" in str(responder.error)
    assert "No such file" in str(responder.error)
    assert str(responder.error).endswith(ground.reason)


async def test_another_replica_takes_what_was_not_sent(engine: FakeEngine, folder: Path) -> None:
    """A replica that refuses connections costs no request."""
    async with field(folder / "none.sock", engine.socket) as ground:
        responders = [await ground.fly(STREAM) for _ in range(3)]
    assert {responder.text for responder in responders} == {"the quick brown fox jumps over"}


async def test_requests_go_where_the_fewest_are(folder: Path) -> None:
    """Ten requests on two replicas are five on each."""
    async with AsyncExitStack() as stack:
        engines = [
            await stack.enter_async_context(FakeEngine(folder / f"{number}.sock", tpot_ms=20)) for number in range(2)
        ]
        ground = await stack.enter_async_context(field(*(engine.socket for engine in engines)))
        endless = Generation(PROMPT, stream=True, sampling={"max_tokens": 2000, "ignore_eos": True})
        flights = [ground.launch(endless, RecordingResponder()) for _ in range(10)]
        await eventually(lambda: [engine.running for engine in engines] == [5, 5])
        for flight in flights:
            flight.cancel()
        await eventually(lambda: [engine.running for engine in engines] == [0, 0])


async def test_the_engines_refusal_reaches_the_client(engine: FakeEngine) -> None:
    """As INVALID_ARG, with the engine's own words."""
    async with field(engine.socket) as ground:
        responder = await ground.fly(Generation(PROMPT, sampling={"max_tokens": -1}))
    assert responder.error is not None
    assert responder.error.code is Code.INVALID_ARG
    assert "m: the fake engine refused the request (400): `max_tokens` must be at least" in str(responder.error)


def event(text: str) -> bytes:
    """Return one event of a completion."""
    return b"data: " + json.dumps({"choices": [{"index": 0, "text": text, "finish_reason": None}]}).encode() + b"\n\n"


@pytest.mark.parametrize(
    ("ending", "what"),
    [
        (b"", "broke off before the answer was complete"),
        (
            b'data: {"error": {"message": "EngineCore died", "code": 500}}\n\n',
            "the fake engine failed: EngineCore died",
        ),
        (b"data: {nonsense\n\n", "the bridge failed"),
        (b'data: {"choices": 3}\n\n', "no completion"),
    ],
)
async def test_an_engine_that_fails_midway(folder: Path, ending: bytes, what: str) -> None:
    """The text so far is delivered, then the error: never a hang."""

    async def broken(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(event("half") + ending)
        await response.write_eof()
        return response

    async with serving(socket=folder / "e.sock", handler=broken), field(folder / "e.sock") as ground:
        responder = await ground.fly(STREAM)
    assert responder.text == "half"
    assert responder.error is not None
    assert what in str(responder.error)


async def test_an_engine_that_never_ends(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer is whole; its counts are not waited for without end."""
    monkeypatch.setattr("tritonfleet.bridge.flight.TAIL_SECONDS", 0.05)
    gone = asyncio.Event()

    async def lingering(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        last = {"choices": [{"index": 0, "text": "all", "finish_reason": "stop"}]}
        await response.write(b"data: " + json.dumps(last).encode() + b"\n\n")
        try:
            await asyncio.Event().wait()
        finally:
            gone.set()
        return response

    async with serving(socket=folder / "e.sock", handler=lingering), field(folder / "e.sock") as ground:
        responder = await ground.fly(STREAM)
        await gone.wait()
    assert (responder.text, responder.error, len(responder.sent)) == ("all", None, 1)


async def test_an_engine_that_dies_midway(folder: Path) -> None:
    """A broken connection is told with the supervisor's reason."""

    async def dying(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(event("half"))
        assert request.transport is not None
        request.transport.abort()
        return response

    async with serving(socket=folder / "e.sock", handler=dying), field(folder / "e.sock") as ground:
        responder = await ground.fly(STREAM)
    assert responder.error is not None
    assert responder.error.code is Code.UNAVAILABLE
    assert str(responder.error).endswith(ground.reason)


@pytest.mark.parametrize(
    ("status", "body", "code", "what"),
    [
        (
            404,
            {"detail": "Not Found"},
            Code.UNSUPPORTED,
            "Error generating stream: Model m does not support 'generate' request",
        ),
        (429, {"error": {"message": "full"}}, Code.UNAVAILABLE, "(429): full"),
        (503, {}, Code.UNAVAILABLE, "(503): {}"),
        (500, {"message": "boom"}, Code.INTERNAL, "(500): boom"),
        (422, {"detail": "bad field"}, Code.INVALID_ARG, "(422): bad field"),
    ],
)
async def test_each_status_has_its_code(folder: Path, status: int, body: dict[str, Any], code: Code, what: str) -> None:
    """So that gRPC clients know what to do."""

    async def refuse(_: web.Request) -> web.StreamResponse:
        return web.json_response(body, status=status)

    async with serving(socket=folder / "e.sock", handler=refuse), field(folder / "e.sock") as ground:
        responder = await ground.fly(STREAM)
    assert responder.error is not None
    assert (responder.error.code, what in str(responder.error)) == (code, True)


async def test_an_embedding(folder: Path) -> None:
    """One response: the vector as JSON text."""
    bodies = []

    async def embed(request: web.Request) -> web.StreamResponse:
        bodies.append(await request.json())
        return web.json_response({"data": [{"embedding": [0.5, 1.5]}], "usage": {"prompt_tokens": 3}})

    async with serving(socket=folder / "e.sock", handler=embed), field(folder / "e.sock") as ground:
        responder = await ground.fly(Embedding("x", 2, Outputs(num_input_tokens=True)))
    assert responder.sent == [({"text_output": [b"[0.5,1.5]"], "num_input_tokens": 3}, True)]
    assert bodies == [{"model": "m", "input": "x", "encoding_format": "float", "dimensions": 2}]


async def test_a_sick_engine_is_not_asked(folder: Path) -> None:
    """With the health check on, the request fails at once and the model's unload is asked for."""
    async with (
        FakeEngine(folder / "e.sock", sick_health_after=0.0) as sick,
        field(sick.socket, health_check=True) as ground,
    ):
        responder = await ground.fly(STREAM)
    assert (str(responder.error), ground.sick.is_set()) == (UNHEALTHY, True)


async def test_triton_that_takes_no_response(engine: FakeEngine) -> None:
    """The client gets the reason as the final response."""
    async with field(engine.socket) as ground:
        responder = RecordingResponder()
        responder.refuse = True
        await ground.landing(ground.launch(STREAM, responder))
    assert str(responder.error) == "no shared memory left"


async def test_what_is_counted(engine: FakeEngine) -> None:
    """Outcomes, tokens, responses; in one thread; and NVIDIA's histograms with one observation per gap."""
    async with field(engine.socket, metrics=True) as ground:
        await asyncio.gather(*(ground.fly(Generation(PROMPT, sampling={"max_tokens": 16})) for _ in range(3)))
        await ground.fly(Generation(PROMPT, sampling={"max_tokens": -1}))
        series = ground.metrics.series
    totals = {" ".join(key).strip(): found.total for key, found in series.items() if found.total}
    observed = {key[0]: found.observed for key, found in series.items() if found.observed}
    assert totals == {
        "tritonfleet_bridge_requests_total success": 3,
        "tritonfleet_bridge_requests_total refused": 1,
        "tritonfleet_bridge_tokens_total": 30,
        "tritonfleet_bridge_responses_total": 3,
        "vllm:prompt_tokens_total": 27,
        "vllm:generation_tokens_total": 30,
    }
    assert {name: len(values) for name, values in observed.items()} == {
        "vllm:time_to_first_token_seconds": 3,
        "vllm:time_per_output_token_seconds": 27,
        "vllm:e2e_request_latency_seconds": 3,
        "vllm:request_prompt_tokens": 3,
        "vllm:request_generation_tokens": 3,
        "vllm:request_params_n": 3,
    }
    assert len(set.union(*(found.threads for found in series.values()))) == 1


async def test_a_field_without_engines(folder: Path) -> None:
    """A route without endpoints is an error, not a crash."""
    async with field() as ground:
        assert isinstance(ground, Field)
        responder = await ground.fly(STREAM)
    assert "nothing to connect to" in str(responder.error)
