"""The check agrees with the real tritonserver, which also serves what we pushed to S3."""

from __future__ import annotations

# ruff: noqa: E501 - the table of cases reads best with one case a line
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.repository.trees import ENSEMBLE_CONFIG, MODEL_PY, PYTHON_CONFIG, write_tree
from tests.sources.s3 import Bucket
from tritonfleet import runtimes
from tritonfleet.engines.base import Runtime
from tritonfleet.layout import cache_folder
from tritonfleet.progress import silent
from tritonfleet.repository import Push, check_repository
from tritonfleet.sources.objects import ObjectStore, parse_address

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

PORT = 18220
START_SECONDS = 60.0
CHAIN = ENSEMBLE_CONFIG.replace('"llm"', '"echo"').replace("text_input", "TEXT_IN").replace("text_output", "TEXT_OUT")
CHAIN = CHAIN.replace("dims: [ -1 ]", "dims: [ 1 ]")
PLAIN = PYTHON_CONFIG.replace("max_batch_size: 8\ndynamic_batching { }\n", "")
#: Two models that stand for prepare and llm, and an ensemble of them.
MODELS = {
    "prepare/config.pbtxt": PLAIN,
    "prepare/1/model.py": MODEL_PY,
    "echo/config.pbtxt": PLAIN,
    "echo/1/model.py": MODEL_PY,
    "chain/config.pbtxt": CHAIN,
    "chain/1/.keep": "",
}
#: One model of each folder's name, right and wrong ones.
CASES: Mapping[str, Mapping[str, str]] = {
    "right": {"config.pbtxt": PLAIN, "1/model.py": MODEL_PY},
    "batching": {"config.pbtxt": PYTHON_CONFIG, "1/model.py": MODEL_PY},
    "other-name": {"config.pbtxt": 'name: "x"\n' + PLAIN, "1/model.py": MODEL_PY},
    "no-dims": {"config.pbtxt": PLAIN.replace(" dims: [ 1 ] } ]\noutput", " } ]\noutput"), "1/model.py": MODEL_PY},
    "zero-dims": {"config.pbtxt": PLAIN.replace("dims: [ 1 ] } ]\no", "dims: [ 0 ] } ]\no"), "1/model.py": MODEL_PY},
    "no-type": {"config.pbtxt": PLAIN.replace("data_type: TYPE_STRING", "", 1), "1/model.py": MODEL_PY},
    "preferred": {"config.pbtxt": PYTHON_CONFIG.replace("{ }", "{ preferred_batch_size: [16] }"), "1/model.py": MODEL_PY},
    "negative": {"config.pbtxt": "max_batch_size: -1\n" + PLAIN, "1/model.py": MODEL_PY},
    "no-version": {"config.pbtxt": PLAIN, "model.py": MODEL_PY},
    "version-01": {"config.pbtxt": PLAIN, "01/model.py": MODEL_PY},
    "policy": {"config.pbtxt": PLAIN + "version_policy { specific { versions: [2] } }", "1/model.py": MODEL_PY},
    # Not here: a Python model without its model.py. Triton 2.51 then never answers the load, nor ends by itself.
    "no-class": {"config.pbtxt": PLAIN, "1/model.py": "x = 1\n"},
    "no-python": {"config.pbtxt": PLAIN, "1/model.py": "def (\n"},
    "no-field": {"config.pbtxt": "bakend: 1", "1/model.py": MODEL_PY},
    "ensemble": {"config.pbtxt": CHAIN, "1/": ""},
    "ensemble-no-version": {"config.pbtxt": CHAIN},
    "ensemble-instance": {"config.pbtxt": CHAIN + "instance_group [ { count: 1 } ]", "1/": ""},
    "ensemble-no-platform": {"config.pbtxt": CHAIN.replace('platform: "ensemble"', ""), "1/": ""},
    "ensemble-no-model": {"config.pbtxt": CHAIN.replace('"echo"', '"ekko"'), "1/": ""},
    "ensemble-no-input": {"config.pbtxt": CHAIN.replace('input_map { key: "TEXT_IN" value: "prompt" }', ""), "1/": ""},
    "ensemble-no-output": {"config.pbtxt": CHAIN.replace('name: "answer"', 'name: "reply"'), "1/": ""},
    "ensemble-wrong-key": {"config.pbtxt": CHAIN.replace('"TEXT_OUT" value: "prompt"', '"TEXT" value: "prompt"'), "1/": ""},
    "ensemble-two-makers": {"config.pbtxt": CHAIN.replace('value: "answer"', 'value: "question"'), "1/": ""},
    "ensemble-type": {"config.pbtxt": CHAIN.replace('"question" data_type: TYPE_STRING', '"question" data_type: TYPE_BOOL'), "1/": ""},
}  # fmt: skip


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    """The Triton of this machine, built if it is missing."""
    return runtimes.ensure("triton", "auto", cache=cache_folder(os.environ), environ=os.environ, progress=silent)


Load = Callable[[str], str | None]
"""Loads a model and returns Triton's reason if it does not."""


@contextlib.contextmanager
def serve(runtime: Runtime, repository: str, port: int, environ: Mapping[str, str]) -> Iterator[Load]:
    """Run tritonserver on *repository* with no model loaded."""
    argv = [
        str(runtime.executable),
        f"--model-repository={repository}",
        "--model-control-mode=explicit",
        f"--backend-directory={runtime.paths['backends']}",
        f"--backend-config=python,shm-region-prefix-name=tfrepository{port}",
        "--http-address=127.0.0.1",
        f"--http-port={port}",
        "--allow-grpc=false",
        "--allow-metrics=false",
        "--exit-timeout-secs=5",
    ]
    environment = {**os.environ, **runtime.env, **environ}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(argv, env=environment, stdout=log, stderr=log)
        try:
            wait_live(process, port)
            yield lambda model: load(port, model)
        finally:
            process.terminate()
            process.wait(timeout=60)


def wait_live(process: subprocess.Popen[bytes], port: int) -> None:
    """Return once the server answers; its log says "Started HTTPService" before it listens."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/health/live", timeout=5):
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            pytest.fail(f"tritonserver ended with {process.wait(timeout=0.1)}")
    pytest.fail(f"tritonserver did not answer within {START_SECONDS} s")


def load(port: int, model: str) -> str | None:
    """Load *model*; return Triton's reason if it does not."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v2/repository/models/{model}/load", data=b"{}", method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            answer.read()
    except urllib.error.HTTPError as err:
        with err:
            return str(json.loads(err.read())["error"])
    return None


def test_the_check_agrees_with_triton(runtime: Runtime, tmp_path: Path) -> None:
    """Triton loads exactly those models that have no error."""
    tree = {f"{name}/{path}": text for name, files in CASES.items() for path, text in files.items()}
    write_tree(tmp_path, MODELS | tree)
    broken = {finding.path.parts[0] for finding in check_repository(tmp_path) if finding.severity == "error"}
    with serve(runtime, str(tmp_path), PORT, {}) as loads:
        reasons = {name: loads(name) for name in CASES}
    assert {name for name, reason in reasons.items() if reason is not None} == broken, reasons
    assert {"right", "batching", "ensemble"} == CASES.keys() - broken


def test_triton_serves_what_was_pushed_to_s3(runtime: Runtime, tmp_path: Path, bucket: Bucket) -> None:
    """The ensemble's empty version folder included."""
    folder = write_tree(tmp_path / "repository", MODELS)
    shutil.rmtree(folder / "chain/1")
    (folder / "chain/1").mkdir()
    address = f"s3://{bucket.name}/models"
    Push(folder, ObjectStore(parse_address(address), bucket.environ)).run(silent, delete=False)
    credentials = {key: value for key, value in bucket.environ.items() if key != "AWS_ENDPOINT_URL"}
    credentials["AWS_DEFAULT_REGION"] = credentials.pop("AWS_REGION")
    repository = f"s3://{bucket.url}/{bucket.name}/models"
    with serve(runtime, repository, PORT + 1, credentials) as loads:
        assert loads("chain") is None
        assert loads("nothing") is not None
