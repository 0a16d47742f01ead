"""`tritonfleet client` and FleetClient against the real tritonserver and real vLLM engines."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.e2e.conftest import COMMAND, RunningFleet
from tritonfleet.bench.engine_door import EngineDoor
from tritonfleet.bench.target import Target
from tritonfleet.client import FleetClient, GenerateRequest, ModelInfo, chat_template
from tritonfleet.client.results import parse_results
from tritonfleet.wire import Endpoint

pytestmark = pytest.mark.e2e

PROMPTS = ["What is a KV cache?", "트라이톤은 무엇인가요? 🙂", "What is LoRA?"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a prompts file."""
    (tmp_path / "prompts.txt").write_text("\n".join(PROMPTS), encoding="utf-8")
    return tmp_path


def door(fleet: RunningFleet, protocol: str) -> list[str]:
    """Options for one of the fleet's doors."""
    return ["-u", f"localhost:{fleet.grpc}"] if protocol == "grpc" else ["--http", "-u", f"localhost:{fleet.http}"]


def client(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run `tritonfleet client` in *folder*."""
    argv = [*COMMAND, "client", *options]
    return subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def engine_socket(fleet: RunningFleet, model: str) -> str:
    """Return the path of the Unix socket of the model's engine."""
    found = next(status for status in fleet.status().models if status.model == model)
    return found.replicas[0].endpoint.removeprefix("unix:")


async def chat(socket: str, prompt: str, **sampling: Any) -> tuple[str, int, int]:
    """Ask the engine's own chat endpoint; return the answer, its tokens and those of the prompt."""
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(socket)) as session:
        base = "http://engine/v1"
        async with session.get(f"{base}/models") as response:
            name = (await response.json())["data"][0]["id"]
        body = {"model": name, "messages": [{"role": "user", "content": prompt}], **sampling}
        async with session.post(f"{base}/chat/completions", json=body) as response:
            answer = await response.json()
    usage = answer["usage"]
    return answer["choices"][0]["message"]["content"], usage["completion_tokens"], usage["prompt_tokens"]


@pytest.mark.parametrize("protocol", ["grpc", "http"])
@pytest.mark.parametrize("streaming", [["--streaming-mode"], []])
def test_pass(demo_fleet: RunningFleet, folder: Path, protocol: str, streaming: list[str]) -> None:
    """Every prompt is answered over both doors, streamed or not, measured and written."""
    done = client(folder, "--model-name", "llama2", "--max-tokens", "24", *streaming, *door(demo_fleet, protocol))
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == "PASS: 3 of 3 requests answered"
    assert all(("TTFT n/a" in line) == (not streaming) for line in lines if line.startswith("Model llama2 - Request"))
    records = parse_results((folder / "llama2_results.txt").read_text(encoding="utf-8"))
    assert [record.prompt for record in records] == PROMPTS
    assert all(record.error is None and record.tokens and 0 < record.tokens <= 24 for record in records)


@pytest.mark.parametrize("model", ["llama2", "mistral7b"])
@pytest.mark.parametrize("protocol", ["grpc", "http"])
async def test_template_is_the_engines(demo_fleet: RunningFleet, model: str, protocol: str) -> None:
    """Rendered here, a prompt has the tokens and the answer that the engine's own chat endpoint gives it."""
    port = demo_fleet.grpc if protocol == "grpc" else demo_fleet.http
    async with FleetClient(f"{protocol}://127.0.0.1:{port}") as fleet_client:
        template = chat_template(model, (await fleet_client.model_info(model)).parameters)
        assert template is not None
        for prompt in PROMPTS:
            rendered = template.render([{"role": "user", "content": prompt}])
            sampling = {"max_tokens": 16, "temperature": 0, "add_special_tokens": False}
            found = await fleet_client.generate(GenerateRequest(model, rendered, sampling, stream=True))
            expected = await chat(engine_socket(demo_fleet, model), prompt, max_tokens=16, temperature=0)
            assert (found.text, found.output_tokens, found.input_tokens) == expected


def test_refused_by_the_engine(demo_fleet: RunningFleet, folder: Path) -> None:
    """What the engine will not do is told once, in its words, and the exit code is 1."""
    for protocol in ("grpc", "http"):
        done = client(folder, "-m", "llama2", "-s", "--sampling", '{"top_p": 7}', *door(demo_fleet, protocol))
        assert done.returncode == 1
        assert "FAIL: 3 of 3 requests failed" in done.stdout
        assert "top_p" in done.stdout.splitlines()[-1]


def test_mistyped(demo_fleet: RunningFleet, folder: Path) -> None:
    """A mistyped model is answered with the near match; the wrong port with the right option."""
    done = client(folder, "-m", "lama2", *door(demo_fleet, "grpc"))
    assert done.returncode == 2
    assert "did you mean 'llama2'? loaded models: llama2, mistral7b" in done.stderr
    done = client(folder, "-m", "llama2", "-u", f"localhost:{demo_fleet.http}")
    assert done.returncode == 6
    assert "does not speak gRPC; add --http" in done.stderr
    done = client(folder, "-m", "llama2", "--http", "-u", f"localhost:{demo_fleet.grpc}")
    assert done.returncode == 6
    assert "does not speak HTTP; drop --http" in done.stderr


@pytest.mark.parametrize("protocol", ["grpc", "http"])
async def test_leaving_frees_the_engine(demo_fleet: RunningFleet, protocol: str) -> None:
    """A stream that is left early no longer runs in the engine."""
    port = demo_fleet.grpc if protocol == "grpc" else demo_fleet.http
    # Many choices keep the engine at work much longer than a busy machine may take to show the first token.
    request = GenerateRequest("llama2", "a", {"max_tokens": 480, "ignore_eos": True, "n": 16}, stream=True)
    socket = engine_socket(demo_fleet, "llama2")
    async with FleetClient(f"{protocol}://127.0.0.1:{port}") as fleet_client:
        async with aclosing(fleet_client.stream(request)) as chunks:
            await anext(chunks)
            await until_running(socket, True)  # the count comes a moment after the token
        await until_running(socket, False)


async def until_running(socket: str, wanted: bool) -> None:
    """Wait until the engine runs something, or nothing any more."""
    async with asyncio.timeout(5):
        while (await running(socket) > 0) is not wanted:  # noqa: ASYNC110 - the engine has no event to await
            await asyncio.sleep(0.05)


async def running(socket: str) -> float:
    """Return the engine's own count of running requests."""
    connector = aiohttp.UnixConnector(socket)
    async with aiohttp.ClientSession(connector=connector) as session, session.get("http://engine/metrics") as response:
        text = await response.text()
    line = next(line for line in text.splitlines() if line.startswith("vllm:num_requests_running{"))
    return float(line.split()[-1])


async def test_doors_of_the_benchmark_agree(demo_fleet: RunningFleet) -> None:
    """The benchmark counts the same tokens for the same request at every door."""
    from tritonfleet.client.grpc_door import GrpcDoor
    from tritonfleet.client.http_door import HttpDoor

    engine = EngineDoor(Endpoint(uds=engine_socket(demo_fleet, "llama2")))
    grpc_client = FleetClient(f"grpc://127.0.0.1:{demo_fleet.grpc}")
    async with grpc_client:
        info = await grpc_client.model_info("llama2")
    own = ModelInfo(await engine.served_name(), frozenset({"text_input"}), {})
    grpc_door = GrpcDoor(grpc_client.address)
    http_door = HttpDoor(FleetClient(f"http://127.0.0.1:{demo_fleet.http}").address)
    targets = [Target("engine", engine, own), Target("grpc", grpc_door, info), Target("http", http_door, info)]
    for target in targets:
        sample = await target.sample("What is a KV cache?", {"max_tokens": 12, "ignore_eos": True})
        assert sample.output_tokens == 12, target.name
        # On a busy machine a short answer may come in one piece.
        assert 0 < sample.ttft_seconds <= sample.latency_seconds
        await target.door.close()


def test_triton_killed_half_way(maker: Callable[..., RunningFleet], folder: Path) -> None:
    """When Triton dies under the client, the answers that came are written and the others have their reason."""
    slow = {"tpot_ms": 50}
    fleet = maker([{"name": "alpha", "source": "demo://llama2", "engine": "fake", "engine_args": slow}])
    (folder / "prompts.txt").write_text("\n".join(["prompt"] * 6), encoding="utf-8")
    options = ["-m", "alpha", "-s", "-c", "2", "--max-tokens", "30", *door(fleet, "grpc")]
    triton_pid = fleet.status().triton_pid
    assert triton_pid is not None
    with subprocess.Popen([*COMMAND, "client", *options], cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = [process.stdout.readline(), process.stdout.readline()]
        assert all("stop" in line or "length" in line for line in first), first
        os.kill(triton_pid, signal.SIGKILL)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "FAIL: 4 of 6 requests failed" in out
    records = parse_results((folder / "alpha_results.txt").read_text(encoding="utf-8"))
    assert len(records) == 6
    assert [record.error is None for record in records] == [True, True, False, False, False, False], json.dumps(out)
