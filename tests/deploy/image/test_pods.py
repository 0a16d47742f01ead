"""What the chart gives to pods, run here: two pools and their door, by the image's entry point, on the real Triton.

The engines are fakes and the ports others; all else is what a pod of the cluster runs and is asked by its probes.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import yaml
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tests.deploy.fleets import rendered
from tests.deploy.helm.charts import Json, of_kind, render
from tests.ports import free_ports
from tritonfleet import runtimes
from tritonfleet.layout import cache_folder
from tritonfleet.progress import silent

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(280)]

ENTRYPOINT = Path(__file__).parents[3] / "deploy/image/entrypoint.sh"
FLEET = """
name: guide
models:
  - {name: llama2, source: demo://llama2, engine: fake, devices: cpu, engine_args: {tpot_ms: 40, answer_tokens: 60}}
  - {name: mistral7b, source: demo://mistral7b, engine: fake, devices: cpu, engine_args: {answer_tokens: 3}}
lifecycle: {drain_seconds: 20}
"""
UP_SECONDS = 120.0


@dataclass(frozen=True)
class Running:
    """One pod of the chart as a process here."""

    process: subprocess.Popen[bytes]
    ports: dict[str, int]

    def get(self, probe: Json) -> int:
        """Return the status that a probe of the chart gets; 0 where nothing answers."""
        try:
            port = self.ports[probe["httpGet"]["port"]]
            return httpx.get(f"http://127.0.0.1:{port}{probe['httpGet']['path']}", timeout=5).status_code
        except httpx.HTTPError:
            return 0

    def wait_for(self, probe: Json) -> None:
        """Return once a probe succeeds."""
        deadline = time.monotonic() + UP_SECONDS
        while self.get(probe) != 200:
            assert self.process.poll() is None, "the pod ended"
            assert time.monotonic() < deadline, "the pod is not ready"
            time.sleep(0.2)  # as the kubelet asks, only more often


@pytest.fixture(scope="module")
def manifests() -> str:
    files = rendered(FLEET).files
    return render(yaml.safe_load(next(text for path, text in files.items() if path.name == "values.yaml")))


@pytest.fixture(scope="module")
def pods(manifests: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Running]]:
    runtimes.ensure("triton", "auto", cache=cache_folder(os.environ), environ=os.environ, progress=silent)
    folder = tmp_path_factory.mktemp("pods")
    with started(manifests, "llama2", folder) as llama, started(manifests, "mistral7b", folder) as mistral:
        yield {"llama2": llama, "mistral7b": mistral}


@pytest.fixture(scope="module")
def door(manifests: str, pods: dict[str, Running], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    table = json.loads(config(manifests, "guide-door")["door.json"])
    for entry in table["models"]:
        assert entry["service"] == f"guide-{entry['model']}-pods"
        entry |= {"service": "127.0.0.1", "port": pods[entry["model"]].ports["openai"]}
    path = tmp_path_factory.mktemp("door") / "door.json"
    path.write_text(json.dumps(table))
    (port,) = free_ports(1)
    arguments = ["door", str(path), "--host", "127.0.0.1", "--port", str(port)]
    with run(arguments, {"openai": port}, {}) as found:
        found.wait_for(container(manifests, "door")["readinessProbe"])
        yield found


@contextmanager
def started(manifests: str, pool: str, folder: Path) -> Iterator[Running]:
    """Run a pool's pod until the block ends."""
    spec = yaml.safe_load(config(manifests, f"guide-{pool}")["fleet.yaml"])
    names = ("http", "grpc", "metrics", "openai")
    ports = dict(zip(names, free_ports(4), strict=True))
    spec["doors"] = {name: {"host": "127.0.0.1", "port": port} for name, port in ports.items()}
    path = folder / f"{pool}.yaml"
    path.write_text(yaml.safe_dump(spec))
    state = folder / pool
    with run(["serve"], ports, {"TRITONFLEET_FLEET": str(path), "TRITONFLEET_STATE": str(state)}) as found:
        found.wait_for(container(manifests, pool)["readinessProbe"])
        yield found


@contextmanager
def run(arguments: list[str], ports: dict[str, int], environ: dict[str, str]) -> Iterator[Running]:
    """Run the entry point with this environment's Python as the image's."""
    environ = {**os.environ, "TRITONFLEET_HOME": sys.prefix, **environ}
    process = subprocess.Popen(["bash", str(ENTRYPOINT), *arguments], env=environ)
    try:
        yield Running(process, ports)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()


def config(manifests: str, name: str) -> dict[str, str]:
    """Return the data of a ConfigMap."""
    found: dict[str, str] = next(
        entry["data"] for entry in of_kind(manifests, "ConfigMap") if entry["metadata"]["name"] == name
    )
    return found


def container(manifests: str, name: str) -> Any:
    """Return the container of a Deployment."""
    found = next(entry for entry in of_kind(manifests, "Deployment") if entry["metadata"]["name"] == f"guide-{name}")
    return found["spec"]["template"]["spec"]["containers"][0]


def test_probes_find_a_ready_pod(manifests: str, pods: dict[str, Running]) -> None:
    for name, pod in pods.items():
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert pod.get(container(manifests, name)[probe]) == 200, (name, probe)


def test_the_door_finds_the_pool_of_a_request(door: Running) -> None:
    url = f"http://127.0.0.1:{door.ports['openai']}"
    for model in ("llama2", "mistral7b"):
        answer = httpx.post(f"{url}/v1/completions", json={"model": model, "prompt": "Triton is"}, timeout=30)
        assert answer.status_code == 200, answer.text
        assert answer.json()["model"] == model
    listed = httpx.get(f"{url}/v1/models", timeout=30).json()
    assert {entry["id"] for entry in listed["data"]} == {"llama2", "mistral7b"}


def test_the_routes_lead_to_paths_that_triton_has(manifests: str, pods: dict[str, Running]) -> None:
    """Each path that the front lets through is one of Triton's."""
    for entry in of_kind(manifests, "HTTPRoute"):
        model = entry["metadata"]["labels"].get("tritonfleet.io/model")
        if model is None:
            continue
        url = f"http://127.0.0.1:{pods[model].ports['http']}"
        for match in entry["spec"]["rules"][0]["matches"]:
            path = match["path"]["value"]
            if path.endswith(("infer", "generate", "generate_stream")):
                answer = httpx.post(f"{url}{path}", json={"text_input": "Triton is"}, timeout=30)
                assert answer.status_code != 404, path
            else:
                assert httpx.get(f"{url}{path}", timeout=30).status_code == 200, path


def test_clients_cannot_manage_triton(pods: dict[str, Running]) -> None:
    """The fleet did load its models by the same API, with a key that it keeps to itself."""
    url = f"http://127.0.0.1:{pods['llama2'].ports['http']}/v2"
    for path in ("repository/index", "repository/models/llama2/unload", "trace/setting", "logging"):
        assert httpx.post(f"{url}/{path}", json={}, timeout=30).status_code == 403, path
    assert httpx.get(f"{url}/systemsharedmemory/status", timeout=30).status_code == 403
    with grpc.insecure_channel(f"127.0.0.1:{pods['llama2'].ports['grpc']}") as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        assert stub.ModelReady(service_pb2.ModelReadyRequest(name="llama2")).ready
        with pytest.raises(grpc.RpcError, match="restricted"):
            stub.RepositoryIndex(service_pb2.RepositoryIndexRequest())


def test_prometheus_gets_the_fleets_page_with_the_pools_name(pods: dict[str, Running]) -> None:
    text = httpx.get(f"http://127.0.0.1:{pods['llama2'].ports['openai']}/metrics", timeout=30).text
    running = next(line for line in text.splitlines() if line.startswith("vllm:num_requests_running{"))
    for label in ('fleet="guide"', 'pool="llama2"', 'model="llama2"'):
        assert label in running
    assert httpx.get(f"http://127.0.0.1:{pods['llama2'].ports['metrics']}/metrics", timeout=30).status_code == 200


def test_a_pod_that_ends_finishes_its_answers(manifests: str, tmp_path: Path) -> None:
    """SIGTERM, after preStop, in the middle of a stream: the stream goes on to its end, new requests are refused."""
    with started(manifests, "llama2", tmp_path) as pod:
        url = f"http://127.0.0.1:{pod.ports['openai']}/v1/completions"
        body = {"model": "llama2", "prompt": "Triton is", "max_tokens": 60, "stream": True}
        with httpx.stream("POST", url, json=body, timeout=60) as answer:
            lines = answer.iter_lines()
            assert next(lines).startswith("data: ")
            pod.process.send_signal(signal.SIGTERM)
            rest = [line for line in lines if line]
        assert rest[-1] == "data: [DONE]"
        assert pod.process.wait(60) == 0
        assert pod.get(container(manifests, "llama2")["livenessProbe"]) == 0
