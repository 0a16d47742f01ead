"""The gateway as a process: its command line, its end, its workers."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.gateway.stage import Stage, eventually
from tests.ports import free_port
from tritonfleet.gateway import GatewayOptions, command
from tritonfleet.gateway.command import default_workers, options_of, parse_worker
from tritonfleet.spec.models import Door, GatewaySpec

PROMPT: dict[str, Any] = {"model": "llama2", "prompt": "one two three", "max_tokens": 3}

OPTIONS = st.builds(
    GatewayOptions,
    control=st.just("/run/control.sock"),
    port=st.integers(1, 65535),
    workers=st.integers(1, 64),
    keys=st.none() | st.just("/state/keys.json"),
    max_running=st.integers(1, 10**6),
    max_wait_seconds=st.floats(0.1, 1e4),
    hold_seconds=st.floats(0, 1e4),
    drain_seconds=st.floats(0.1, 1e4),
)


@given(OPTIONS)
def test_the_command_line_says_the_same_again(options: GatewayOptions) -> None:
    argv = command(options)
    assert argv[:3] == (sys.executable, "-m", "tritonfleet.gateway")
    assert parse_worker(argv[3:]) == (options, None)


def test_defaults_of_spec_and_command_line_agree() -> None:
    options = options_of(
        GatewaySpec(),
        Door(port=9000),
        control="c",
        keys="k",
        admin_token="t",
        drain_seconds=GatewayOptions("c").drain_seconds,
        cores=1,
    )
    assert options == GatewayOptions(control="c", keys="k", admin_token="t")


@pytest.mark.parametrize(("cores", "workers"), [(1, 1), (8, 1), (16, 2), (128, 8)])
def test_default_workers(cores: int, workers: int) -> None:
    assert default_workers(cores) == workers


@asynccontextmanager
async def process(stage: Stage, **options: Any) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run the gateway as the supervisor does."""
    port = free_port()
    argv = command(GatewayOptions(control=str(stage.supervisor.path), port=port, **options))
    stage.url = f"http://127.0.0.1:{port}"
    child = await asyncio.create_subprocess_exec(*argv, stderr=asyncio.subprocess.PIPE)
    try:
        async with aiohttp.ClientSession(stage.url) as stage.session:
            async with asyncio.timeout(60):
                await stage.until_known()
            yield child
    finally:
        if child.returncode is None:
            child.terminate()
        await child.communicate()


async def takes_connections(stage: Stage) -> bool:
    try:
        async with aiohttp.ClientSession(stage.url) as newcomer, newcomer.get("/health"):
            return True
    except aiohttp.ClientConnectionError:
        return False


async def test_sigterm_finishes_running_requests_and_takes_no_new_ones(stage: Stage) -> None:
    replica = await stage.engine(tpot_ms=50)
    await stage.serve(replica)
    async with process(stage) as child:
        body = {**PROMPT, "max_tokens": 30, "ignore_eos": True}
        streamed = asyncio.create_task(stage.post({**body, "stream": True}))
        whole = asyncio.create_task(stage.post(body))
        await eventually(lambda: replica.running == 2)
        child.terminate()
        async with asyncio.timeout(10):
            while await takes_connections(stage):  # noqa: ASYNC110 - it closes at the next tick of the server
                await asyncio.sleep(0.02)
        status, text, _ = await streamed
        assert (status, text.count("data: ")) == (200, 31)
        assert (await whole)[0] == 200
        assert await asyncio.wait_for(child.wait(), 10) in (0, -signal.SIGTERM)
    assert replica.finished == {"length": 2}


async def test_the_drain_deadline_ends_what_takes_too_long(stage: Stage) -> None:
    replica = await stage.engine(tpot_ms=50)
    await stage.serve(replica)
    async with process(stage, drain_seconds=1.0) as child:
        endless = asyncio.create_task(stage.post({**PROMPT, "max_tokens": 4000, "ignore_eos": True, "stream": True}))
        await eventually(lambda: replica.running == 1)
        child.terminate()
        await asyncio.wait_for(child.wait(), 10)
        await asyncio.gather(endless, return_exceptions=True)
        await eventually(lambda: replica.running == 0)


async def test_a_taken_port_is_said_at_once(stage: Stage) -> None:
    await stage.serve(await stage.engine())
    async with process(stage):
        port = int(stage.url.rsplit(":", 1)[1])
        argv = command(GatewayOptions(control=str(stage.supervisor.path), port=port))
        other = await asyncio.create_subprocess_exec(*argv, stderr=asyncio.subprocess.PIPE)
        _, said = await other.communicate()
    assert other.returncode == 6
    assert f"port {port} of 127.0.0.1 is taken" in said.decode()


async def test_workers_share_counts_and_one_that_dies_is_replaced(stage: Stage) -> None:
    replica = await stage.engine()
    await stage.serve(replica)
    async with process(stage, workers=2) as child:
        workers = psutil.Process(child.pid).children()
        assert len(workers) == 2
        for _ in range(12):
            async with (
                aiohttp.ClientSession(stage.url) as session,
                session.post("/v1/completions", json=PROMPT) as answer,
            ):
                assert answer.status == 200
        line = 'tritonfleet_gateway_requests_total{model="llama2",path="/v1/completions",src="engine",status="200"}'
        await stage.until_metric(line, 12)  # a worker counts right after the last byte
        os.kill(workers[0].pid, signal.SIGKILL)
        await eventually(lambda: workers[0].pid not in {entry.pid for entry in psutil.Process(child.pid).children()})
        await eventually(lambda: len(psutil.Process(child.pid).children()) == 2, seconds=30)
        child.terminate()
        assert await asyncio.wait_for(child.wait(), 30) == 0
        assert not any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in workers)
