"""Streams through nginx to a fleet on the real Triton, with fake engines that are slow on purpose."""

from __future__ import annotations

import contextlib
import json
import queue
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2_grpc
from tritonclient.utils import InferenceServerException

from tests.deploy.nginx.front import Front, nginx
from tests.e2e.conftest import FleetMaker, RunningFleet
from tests.e2e.doors import Doors
from tritonfleet.client.grpc_door import infer_request
from tritonfleet.client.messages import GenerateRequest, ModelInfo

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(180)]

#: Silence before the slow model's first token; a timeout of LIMIT, in place of an hour, cuts it.
SILENCE_MS = 2500
LIMIT = "1s"
#: Far longer than a test waits: 60 s at the pace of the model `steady`.
LONG = 2000
INPUTS = ModelInfo("slow", frozenset({"text_input"}), {})
#: What gRPC makes of nginx's 504.
CUT = grpc.StatusCode.UNAVAILABLE


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningFleet]:
    """Bring a steady and a slow model up, once."""
    maker = FleetMaker(tmp_path_factory.mktemp("front"))
    common = {"source": "demo://llama2", "engine": "fake", "devices": "cpu"}
    fleet = maker.up(
        [
            {"name": "steady", **common, "engine_args": {"tpot_ms": 30}},
            {"name": "slow", **common, "engine_args": {"ttft_ms": SILENCE_MS}},
        ]
    )
    yield fleet
    maker.down(fleet)


@pytest.fixture
def front(fleet: RunningFleet, tmp_path: Path) -> Iterator[Front]:
    """Run nginx, as it is, in front of the fleet."""
    with nginx(tmp_path, servers(fleet)) as running:
        yield running


def servers(fleet: RunningFleet) -> dict[int, str]:
    """Return where the fleet's doors are, by the ports of the file."""
    doors = {8000: fleet.http, 8001: fleet.grpc, 9000: fleet.openai}
    return {port: f"127.0.0.1:{found}" for port, found in doors.items()}


@dataclass
class Call:
    """One gRPC stream of tritonclient; what arrives, with the time at which it did."""

    client: triton.InferenceServerClient
    arrived: queue.Queue[tuple[float, str | InferenceServerException]] = field(default_factory=queue.Queue)

    def start(self, model: str, tokens: int) -> None:
        """Ask; the client's side stays open, as tritonclient leaves it."""
        prompt = triton.InferInput("text_input", [1], "BYTES")
        prompt.set_data_from_numpy(np.array([b"one two three"], dtype=object))
        stream = triton.InferInput("stream", [1], "BOOL")
        stream.set_data_from_numpy(np.array([True]))
        sampling = triton.InferInput("sampling_parameters", [1], "BYTES")
        options = json.dumps({"max_tokens": tokens, "ignore_eos": True})
        sampling.set_data_from_numpy(np.array([options.encode()], dtype=object))
        self.client.start_stream(self._keep)
        self.client.async_stream_infer(model, [prompt, stream, sampling])

    def _keep(self, result: Any, error: InferenceServerException | None) -> None:
        text = error or result.as_numpy("text_output")[0].decode()
        self.arrived.put((time.monotonic(), text))

    def next(self) -> tuple[float, str | InferenceServerException]:
        """Wait for what arrives next."""
        return self.arrived.get(timeout=20)


@pytest.fixture
def client(front: Front) -> Iterator[triton.InferenceServerClient]:
    """Connect tritonclient to nginx."""
    with triton.InferenceServerClient(front.grpc) as found:
        yield found


def events(front: Front, model: str, tokens: int) -> Iterator[tuple[float, str]]:
    """Stream a completion of the OpenAI API; yield the data of each event with its time."""
    body = {"model": model, "prompt": "one two three", "max_tokens": tokens, "ignore_eos": True, "stream": True}
    with httpx.stream("POST", f"{front.url}/v1/completions", json=body, timeout=20) as response:
        response.raise_for_status()
        for line in response.iter_lines():
            if line.startswith("data: "):
                yield time.monotonic(), line.removeprefix("data: ")


def generate_stream(front: Front, model: str, tokens: int) -> Iterator[tuple[float, str]]:
    """Stream an answer of Triton's HTTP door; yield the data of each event with its time."""
    body = {"text_input": "one two three", "stream": True, "max_tokens": tokens, "ignore_eos": True}
    with httpx.stream("POST", f"{front.url}/v2/models/{model}/generate_stream", json=body, timeout=20) as response:
        response.raise_for_status()
        for line in response.iter_lines():
            if line.startswith("data: "):
                yield time.monotonic(), line.removeprefix("data: ")


STREAMS = {"openai": events, "generate_stream": generate_stream}


@pytest.mark.parametrize("name", STREAMS)
def test_tokens_of_an_sse_stream_arrive_one_by_one(front: Front, name: str) -> None:
    times = [at for at, _ in STREAMS[name](front, "steady", 40)]
    assert len(times) >= 20
    assert times[-1] - times[0] > 0.6, "40 tokens of 30 ms were not held back to the end"


def test_tokens_of_a_grpc_stream_arrive_one_by_one(client: triton.InferenceServerClient) -> None:
    call = Call(client)
    call.start("steady", 40)
    times = [call.next()[0] for _ in range(20)]
    assert times[-1] - times[0] > 0.3


def test_what_else_clients_ask_of_triton(client: triton.InferenceServerClient, front: Front) -> None:
    assert client.is_server_ready()
    assert client.is_model_ready("steady")
    assert client.get_model_config("steady").config.name == "steady"
    assert httpx.get(f"{front.url}/v2/health/ready").status_code == 200
    assert {entry["id"] for entry in httpx.get(f"{front.url}/v1/models").json()["data"]} == {"steady", "slow"}


def test_nobody_outside_loads_or_unloads_a_model(client: triton.InferenceServerClient, front: Front) -> None:
    for act in (client.load_model, client.unload_model):
        with pytest.raises(InferenceServerException) as caught:
            act("steady")
        assert caught.value.status() == "StatusCode.UNIMPLEMENTED"
    for verb in ("load", "unload"):
        assert httpx.post(f"{front.url}/v2/repository/models/steady/{verb}").status_code == 404
    assert client.is_model_ready("steady")


@pytest.mark.parametrize("name", STREAMS)
def test_a_client_of_sse_that_goes_away_ends_the_generation(fleet: RunningFleet, front: Front, name: str) -> None:
    stream = STREAMS[name](front, "steady", LONG)
    next(stream)
    assert running(fleet) == 1
    stream.close()  # type: ignore[attr-defined]
    assert aborted(fleet)


def test_a_grpc_client_that_goes_away_ends_the_generation(
    fleet: RunningFleet, client: triton.InferenceServerClient
) -> None:
    call = Call(client)
    call.start("steady", LONG)
    call.next()
    assert running(fleet) == 1
    client.stop_stream(cancel_requests=True)
    assert aborted(fleet)


def running(fleet: RunningFleet) -> float:
    """Return how many requests the steady model's engine works on."""
    transport = httpx.HTTPTransport(uds=Doors(fleet).engine_socket("steady"))
    with httpx.Client(transport=transport, base_url="http://engine") as engine:
        text = engine.get("/metrics").text
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith("vllm:num_requests_running"))


def aborted(fleet: RunningFleet) -> bool:
    """Wait until the engine works on nothing; false if that takes longer than any abort does."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:  # asking takes its time: `tritonfleet status` runs in between
        if running(fleet) == 0:
            return True
    return False


def test_a_stream_may_be_silent(client: triton.InferenceServerClient, front: Front) -> None:
    call = Call(client)
    call.start("slow", 4)
    assert isinstance(call.next()[1], str)
    for stream in STREAMS.values():
        assert list(stream(front, "slow", 4))


def test_a_grpc_client_that_keeps_its_side_open_needs_the_body_timeout(fleet: RunningFleet, tmp_path: Path) -> None:
    """As tritonclient does: nginx waits for more of the request, which is a body to it."""
    with (
        nginx(tmp_path, servers(fleet), client_body_timeout=LIMIT) as front,
        triton.InferenceServerClient(front.grpc) as client,
    ):
        call = Call(client)
        call.start("slow", 4)
        assert isinstance(call.next()[1], InferenceServerException)


@pytest.mark.parametrize(("limit", "status"), [("3600s", grpc.StatusCode.OK), (LIMIT, CUT)])
def test_a_grpc_client_that_said_all_needs_the_read_timeout(
    fleet: RunningFleet, tmp_path: Path, limit: str, status: grpc.StatusCode
) -> None:
    """As `tritonfleet client` does: nginx waits for the answer."""
    request = infer_request(GenerateRequest("slow", "one two three", sampling={"max_tokens": 4}), INPUTS)
    with (
        nginx(tmp_path, servers(fleet), grpc_read_timeout=limit) as front,
        grpc.insecure_channel(front.grpc) as channel,
    ):
        call = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelStreamInfer(iter([request]), timeout=20)
        with contextlib.suppress(grpc.RpcError):
            list(call)
        assert call.code() is status


@pytest.mark.parametrize("stream", STREAMS)
def test_a_silent_sse_stream_needs_the_read_timeout(fleet: RunningFleet, tmp_path: Path, stream: str) -> None:
    # generate_stream answers with its head at once, the gateway with the first token
    cut = pytest.raises((httpx.HTTPStatusError, httpx.RemoteProtocolError))
    with nginx(tmp_path, servers(fleet), proxy_read_timeout=LIMIT) as front, cut:
        list(STREAMS[stream](front, "slow", 4))


def test_tls_has_one_port_for_http_and_grpc(fleet: RunningFleet, tmp_path: Path) -> None:
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(tmp_path / "fleet.key"), "-out", str(tmp_path / "fleet.crt")]
    argv = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *names, *files]
    subprocess.run(argv, check=True, capture_output=True)
    with nginx(tmp_path, servers(fleet), tls=True) as front:
        trust = ssl.create_default_context(cafile=str(tmp_path / "fleet.crt"))
        url = f"https://localhost:{front.grpc_port}"
        assert httpx.get(f"{url}/v1/models", verify=trust).status_code == 200
        certificate = str(tmp_path / "fleet.crt")
        with triton.InferenceServerClient(
            f"localhost:{front.grpc_port}", ssl=True, root_certificates=certificate
        ) as client:
            call = Call(client)
            call.start("steady", 4)
            assert isinstance(call.next()[1], str)
