"""Repositories that are not ours: NVIDIA's vLLM layout unchanged, and one that lives in S3."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from tests.e2e.conftest import RunningFleet
from tests.e2e.requests import generate, post
from tests.e2e.test_kill import LIFECYCLE, model, wait_for
from tests.e2e.test_lifecycle import DOUBLE, TENSORS, python_model, states
from tritonfleet.demo import demo_model_path
from tritonfleet.progress import silent
from tritonfleet.repository import Push
from tritonfleet.sources.objects import ObjectStore, parse_address

pytestmark = pytest.mark.e2e


@pytest.mark.timeout(300)
def test_a_repository_of_nvidias_vllm_backend_runs_unchanged(
    maker: Callable[..., RunningFleet], tmp_path: Path
) -> None:
    folder = tmp_path / "theirs" / "vllm_model"
    (folder / "1").mkdir(parents=True)
    # As in the samples of NVIDIA's vllm_backend: inputs and outputs are left to the backend.
    (folder / "config.pbtxt").write_text('backend: "vllm"\ninstance_group [{count: 1 kind: KIND_MODEL}]\n')
    arguments = {"model": str(demo_model_path("llama2")), "gpu_memory_utilization": 0.5, "enforce_eager": True}
    (folder / "1" / "model.json").write_text(json.dumps({**arguments, "disable_log_stats": True}))
    fleet = maker([], repository={"include": [str(folder.parent)]}, lifecycle=LIFECYCLE)
    wait_for(lambda: states(fleet) == {"vllm_model": "ready"}, seconds=200)
    answer = generate(fleet, "vllm_model", "[INST] What is a KV cache? [/INST]", tokens=8)
    assert answer.ok, answer.error
    assert answer.text
    assert post(fleet, "/v2/repository/models/vllm_model/unload").ok
    wait_for(lambda: states(fleet) == {"vllm_model": "stopped"})


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An empty bucket on a local S3 server; returns its address for Triton and for `repository push`."""
    server = ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in (("ACCESS_KEY_ID", "test"), ("SECRET_ACCESS_KEY", "test"), ("DEFAULT_REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    import boto3

    boto3.client("s3", endpoint_url=f"http://{host}:{port}").create_bucket(Bucket="models")
    yield f"s3://http://127.0.0.1:{port}/models/repository"
    server.stop()


@pytest.mark.timeout(300)
def test_a_repository_in_s3_is_served(maker: Callable[..., RunningFleet], tmp_path: Path, bucket: str) -> None:
    folder = tmp_path / "others"
    python_model(folder, "double", f'backend: "python"\nmax_batch_size: 8\n{TENSORS}', DOUBLE)
    Push(folder, ObjectStore(parse_address(bucket), os.environ)).run(silent, delete=False)
    fleet = maker([model("alpha")], repository={"include": [bucket]}, lifecycle=LIFECYCLE)
    wait_for(lambda: fleet.status().others == ("double",))
    body = {"inputs": [{"name": "X", "shape": [1, 1], "datatype": "FP32", "data": [3.0]}]}
    outcome = post(fleet, "/v2/models/double/infer", body)
    assert json.loads(outcome.text)["outputs"][0]["data"] == [6.0]
    assert generate(fleet, "alpha").ok
