"""A simulated load against the same load on a real fleet: the real supervisor, Triton, gateway and leases.

The engines are fakes with the pace of a 7B model on a GPU, so that what is compared is everything around them.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.e2e.conftest import RunningFleet
from tritonfleet.simulate import Request, Shape, generate, trace_text
from tritonfleet.simulate.figures import quantile

ARGUMENTS = {
    "ttft_ms": 20, "tpot_ms": 5, "answer_tokens": 4096, "sleep_ms": 300, "wake_ms": 700, "max_running": 64,
}  # fmt: skip
SECONDS = 25.0
#: A machine with two cores that does other things too; alone it has been 3 %.
TOLERANCE = 0.4
#: The goal for the slowest requests: their times are those of switches, which a busy machine changes little.
LATE_TOLERANCE = 0.25


@pytest.mark.e2e
def test_what_was_simulated_is_what_happens(maker: Callable[..., RunningFleet], tmp_path: Path) -> None:
    """Everything is answered, and the times to first token are those that were predicted."""
    common: dict[str, Any] = {"engine": "fake", "source": "demo://llama2", "share": "g", "engine_args": ARGUMENTS}
    fleet = maker([{"name": name, **common} for name in "abc"], "simulated")
    trace = generate(Shape(tuple("abc"), seconds=SECONDS, rate=3.0, shift_seconds=8.0), seed=11)
    path = tmp_path / "trace.jsonl"
    path.write_text(trace_text(trace))
    done = fleet_plan(fleet, path)
    waits = asyncio.run(load(f"http://127.0.0.1:{fleet.openai}", trace))
    assert len(waits) == len(trace) == done["served"]
    middle, late = quantile(waits, 0.5), quantile(waits, 0.95)
    assert late == pytest.approx(done["ttft_p95"], rel=LATE_TOLERANCE)
    assert middle == pytest.approx(done["ttft_p50"], rel=TOLERANCE, abs=0.5)
    assert fleet.status().shares[0].switches == pytest.approx(done["switches"], rel=TOLERANCE)


def fleet_plan(fleet: RunningFleet, trace: Path) -> dict[str, Any]:
    """Return what ``tritonfleet plan --simulate`` says of the fleet as planned."""
    argv = [sys.executable, "-m", "tritonfleet", "plan", str(fleet.spec_path), "--here", "--simulate", str(trace)]
    found = subprocess.run([*argv, "--json"], capture_output=True, text=True, timeout=120, check=True)
    scene: dict[str, Any] = json.loads(found.stdout)["scenes"][0]
    return scene


async def load(door: str, trace: tuple[Request, ...]) -> list[float]:
    """Send the trace at its times; return each request's time to first token."""
    start = time.monotonic() + 0.2
    async with aiohttp.ClientSession(door, timeout=aiohttp.ClientTimeout(total=60)) as session:
        return list(await asyncio.gather(*(send(session, request, start) for request in trace)))


async def send(session: aiohttp.ClientSession, request: Request, start: float) -> float:
    """Send one request at its time and read the answer to its end."""
    body = {
        "model": request.model, "prompt": list(range(request.prompt_tokens)), "max_tokens": request.output_tokens,
        "ignore_eos": True, "stream": True,
    }  # fmt: skip
    await asyncio.sleep(start + request.arrival_seconds - time.monotonic())
    sent, first, tokens = time.monotonic(), None, 0
    async with session.post("/v1/completions", json=body) as response:
        assert response.status == 200, await response.text()
        async for line in response.content:
            if line.startswith(b"data: {"):
                first = first or time.monotonic() - sent
                tokens += 1
    assert tokens >= request.output_tokens
    assert first is not None
    return first
