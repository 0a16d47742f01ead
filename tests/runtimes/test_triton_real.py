"""The triton runtime as built from its pins serves a Python model: arrays and text come back as they went in."""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tritonfleet import runtimes
from tritonfleet.engines.base import Runtime
from tritonfleet.layout import cache_folder
from tritonfleet.progress import silent

pytestmark = pytest.mark.e2e

HTTP_PORT, GRPC_PORT = 18600, 18601
URL = f"http://127.0.0.1:{HTTP_PORT}"
MODEL = """
import json, sys
import aiohttp, numpy, orjson, uvloop
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        text = pb_utils.get_input_tensor_by_name(request, "TEXT").as_numpy()
        numbers = pb_utils.get_input_tensor_by_name(request, "NUMBERS").as_numpy()
        facts = json.dumps({"python": list(sys.version_info[:3]), "numpy": numpy.__version__, "prefix": sys.prefix})
        tensors = [
            pb_utils.Tensor("TEXT_OUT", numpy.array([part + b"!" for part in text], dtype=object)),
            pb_utils.Tensor("NUMBERS_OUT", numbers * 2),
            pb_utils.Tensor("FACTS", numpy.array([facts.encode()], dtype=object)),
        ]
        return pb_utils.InferenceResponse(output_tensors=tensors)
"""
CONFIG = """
backend: "python"
max_batch_size: 0
input [
  { name: "TEXT" data_type: TYPE_STRING dims: [ -1 ] },
  { name: "NUMBERS" data_type: TYPE_FP32 dims: [ -1 ] }
]
output [
  { name: "TEXT_OUT" data_type: TYPE_STRING dims: [ -1 ] },
  { name: "NUMBERS_OUT" data_type: TYPE_FP32 dims: [ -1 ] },
  { name: "FACTS" data_type: TYPE_STRING dims: [ 1 ] }
]
instance_group [ { count: 1 kind: KIND_CPU } ]
"""


def write_model(repository: Path) -> None:
    (repository / "echo/1").mkdir(parents=True)
    (repository / "echo/config.pbtxt").write_text(CONFIG)
    (repository / "echo/1/model.py").write_text(MODEL)


@contextmanager
def serving(triton: Runtime, repository: Path, log: Path) -> Iterator[str]:
    command = [
        str(triton.executable),
        f"--model-repository={repository}",
        f"--backend-directory={triton.paths['backends']}",
        "--backend-config=python,shm-region-prefix-name=tfruntimes",
        f"--http-port={HTTP_PORT}",
        f"--grpc-port={GRPC_PORT}",
        "--http-address=127.0.0.1",
        "--grpc-address=127.0.0.1",
        "--allow-metrics=false",
        "--exit-timeout-secs=5",
    ]
    with log.open("wb") as output:
        server = subprocess.Popen(command, env={**os.environ, **triton.env}, stdout=output, stderr=output)
        try:
            wait_ready(server, log)
            yield URL
        finally:
            server.terminate()
            server.wait(30)


def wait_ready(server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with suppress(OSError), urllib.request.urlopen(f"{URL}/v2/health/ready", timeout=5):
            return
        with suppress(subprocess.TimeoutExpired):
            server.wait(0.1)  # a server that fails to load its only model ends by itself
            break
    pytest.fail(f"tritonserver is not ready; its log ends with\n{log.read_text()[-3000:]}")


def infer(url: str, text: list[str], numbers: list[float]) -> dict[str, Any]:
    body = {
        "inputs": [
            {"name": "TEXT", "shape": [len(text)], "datatype": "BYTES", "data": text},
            {"name": "NUMBERS", "shape": [len(numbers)], "datatype": "FP32", "data": numbers},
        ]
    }
    request = urllib.request.Request(f"{url}/v2/models/echo/infer", json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=20) as response:
        return {output["name"]: output["data"] for output in json.load(response)["outputs"]}


def test_the_installed_triton_serves_a_python_model(tmp_path: Path) -> None:
    """The stub runs the runtime's own Python with numpy 1, and text and numbers survive the way through it."""
    environ = dict(os.environ)
    triton = runtimes.install("triton", cache=cache_folder(environ), environ=environ, progress=silent)
    write_model(tmp_path / "models")
    with serving(triton, tmp_path / "models", tmp_path / "stdout.log") as url:
        answer = infer(url, ["a", "", "긴 글 🙂"], [1.5, -2.0, 3.0])
    assert answer["TEXT_OUT"] == ["a!", "!", "긴 글 🙂!"]
    assert answer["NUMBERS_OUT"] == [3.0, -4.0, 6.0]
    facts = json.loads(answer["FACTS"][0])
    assert facts["numpy"].startswith("1.")
    assert Path(facts["prefix"]) == triton.paths["stub_python"].parents[1]
