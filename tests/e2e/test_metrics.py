"""The fleet's one page, of real fleets: every part is on it, Prometheus takes it, a hung engine does not spoil it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
import urllib.request
from collections.abc import Callable

import pytest

from tests.e2e.conftest import RunningFleet
from tests.e2e.requests import generate
from tests.metrics.stage import samples, value
from tests.metrics.test_page import complaints
from tritonfleet.metrics.table import METRICS, TABLE

pytestmark = pytest.mark.e2e

#: Requests through each door.
ASKED = 3
#: Told of only when it has happened, or where there is a GPU.
NOT_HERE = {
    "tritonfleet_gateway_refused_total",
    "tritonfleet_gateway_key_requests_total",
    "tritonfleet_gateway_key_tokens_total",
    "tritonfleet_replica_gpu",
}


def page(fleet: RunningFleet) -> str:
    """Scrape the fleet."""
    with urllib.request.urlopen(f"http://127.0.0.1:{fleet.openai}/metrics", timeout=10) as answer:
        return str(answer.read().decode())


def chat(fleet: RunningFleet, model: str) -> None:
    """Stream an answer through the OpenAI door."""
    body = {"model": model, "stream": True, "max_tokens": 8, "messages": [{"role": "user", "content": "hello"}]}
    request = urllib.request.Request(
        f"http://127.0.0.1:{fleet.openai}/v1/chat/completions",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert b"[DONE]" in answer.read()


def until(fleet: RunningFleet, check: Callable[[str], bool], seconds: float = 20) -> str:
    """Scrape until the page is as it should be; the bridge tells Triton of what ended a moment later."""
    deadline = time.monotonic() + seconds
    while not check(text := page(fleet)):
        assert time.monotonic() < deadline, text
    return text


def test_every_part_of_a_real_fleet_is_on_the_page(demo_fleet: RunningFleet) -> None:
    before = page(demo_fleet)
    for _ in range(ASKED):
        chat(demo_fleet, "llama2")
        assert generate(demo_fleet, "llama2").ok

    def bridged(text: str) -> float:
        return value(text, "tritonfleet_bridge_requests_total", model="llama2", outcome="success")

    text = until(demo_fleet, lambda text: bridged(text) - bridged(before) == ASKED)
    kinds = dict(line.split()[2:4] for line in text.splitlines() if line.startswith("# TYPE"))
    expected = {metric.name: metric.kind for metric in TABLE if metric.source not in ("gpu", "share")}
    assert {name: kind for name, kind in kinds.items() if name in METRICS} | dict.fromkeys(NOT_HERE) == {
        **expected,
        **dict.fromkeys(NOT_HERE),
    }
    for model in ("llama2", "mistral7b"):
        assert value(text, "tritonfleet_scrape_up", fleet="demo", model=model, replica="0", engine="vllm") == 1
        assert value(text, "tritonfleet_model_in_triton", model=model) == 1
    ttft = "vllm:time_to_first_token_seconds_count"
    assert value(text, ttft, model="llama2") - value(before, ttft, model="llama2") == 2 * ASKED
    assert value(text, "tritonfleet_gateway_time_to_first_token_seconds_count", model="llama2") >= ASKED
    assert value(text, "tritonfleet_replica_ready_seconds", model="mistral7b") > 1
    if shutil.which("promtool"):
        assert complaints(text) == []


def test_a_hung_engine_is_absent_and_comes_back(maker: Callable[..., RunningFleet]) -> None:
    fleet = maker(
        [{"name": name, "source": "demo://llama2", "engine": "fake", "devices": "cpu"} for name in ("hung", "well")],
        name="metrics",
        gateway={"workers": 2},
    )
    text = until(fleet, lambda text: {up for _, _, up in samples(text, "tritonfleet_scrape_up")} == {1.0})
    assert value(text, "tritonfleet_scrape_part_up", part="triton") == 1
    pid = next(model.replicas[0].pid for model in fleet.status().models if model.model == "hung")
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        started = time.monotonic()
        text = until(fleet, lambda text: value(text, "tritonfleet_scrape_up", model="hung") == 0)
        assert time.monotonic() - started < 5
        assert {labels["model"] for _, labels, _ in samples(text, "vllm:num_requests_running")} == {"well"}
        assert value(text, "tritonfleet_replica_up", model="hung") == 1, "its health probes are more patient"
    finally:
        os.kill(pid, signal.SIGCONT)
    until(fleet, lambda text: value(text, "tritonfleet_scrape_up", model="hung") == 1)
