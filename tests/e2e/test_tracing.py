"""One trace from door to engine, through the real Triton and a real vLLM, at every door that takes its context."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable

import numpy as np
import pytest
import tritonclient.grpc as grpcclient

from tests.e2e.conftest import RunningFleet
from tests.tracing.collector import Collector, SeenSpan, collecting

pytestmark = pytest.mark.e2e

MODEL = "llama2"
PARENT = "b7ad6b7169203331"
OPENAI, HTTP, GRPC = (f"{number:032x}" for number in (0xA, 0xB, 0xC))


def context(trace: str) -> dict[str, str]:
    return {"traceparent": f"00-{trace}-{PARENT}-01"}


def post(port: int, path: str, body: dict[str, object], trace: str) -> None:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json", **context(trace)},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.read()


def stream_grpc(port: int, trace: str) -> None:
    text = grpcclient.InferInput("text_input", [1], "BYTES")
    text.set_data_from_numpy(np.array([b"hello"], dtype=np.object_))
    with grpcclient.InferenceServerClient(f"127.0.0.1:{port}") as client:
        errors: list[object] = []
        client.start_stream(lambda result, error: errors.append(error), headers=context(trace))
        client.async_stream_infer(MODEL, [text], parameters={"max_tokens": 8})
        client.stop_stream()  # waits for the answer
    assert errors == [None]


def chain(spans: list[SeenSpan], trace: str) -> list[tuple[str, str]]:
    """Return the trace's spans from the client's down to the last, by service and name; a span has one line below."""
    mine = [span for span in spans if span.trace_id == trace]
    found: list[tuple[str, str]] = []
    parent = PARENT
    while below := [span for span in mine if span.parent_id == parent and span.name != "compute"]:
        [span] = below
        found.append((span.service, span.name))
        parent = span.span_id
    return found


def whole(trace: str) -> Callable[[list[SeenSpan]], bool]:
    """Return a check that the engine's span is there, and everything above it."""
    return lambda spans: bool(found := chain(spans, trace)) and found[-1][0] == "vllm"


def test_one_trace_from_every_door_to_the_engine(maker: Callable[..., RunningFleet]) -> None:
    with collecting() as collector:
        fleet = maker(
            [{"name": MODEL, "source": "demo://llama2", "devices": "cpu", "max_model_len": 512}],
            name="traces",
            tracing={"endpoint": collector.url},
        )
        post(fleet.openai, "/v1/completions", {"model": MODEL, "prompt": "hello", "max_tokens": 8}, OPENAI)
        post(fleet.http, f"/v2/models/{MODEL}/generate", {"text_input": "hello", "max_tokens": 8}, HTTP)
        stream_grpc(fleet.grpc, GRPC)
        through_gateway = seen(collector, OPENAI)
        assert through_gateway == [("tritonfleet-gateway", "POST /v1/completions"), ("vllm", "llm_request")]
        through_triton = [
            ("triton", "InferRequest"),
            ("triton", MODEL),
            ("tritonfleet-bridge", f"bridge {MODEL}"),
            ("vllm", "llm_request"),
        ]
        assert seen(collector, HTTP) == through_triton
        assert seen(collector, GRPC) == through_triton
        engine = next(span for span in collector.spans if span.trace_id == GRPC and span.service == "vllm")
        assert engine.resource["tritonfleet.model"] == MODEL


def seen(collector: Collector, trace: str) -> list[tuple[str, str]]:
    """Wait for a whole trace, and return it."""
    return chain(collector.wait(whole(trace), seconds=30), trace)
