"""`up`, `down`, `status`, `logs` and selective loading on the real tritonserver, with fake engines for speed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tritonclient.grpc as grpcclient

from tests.e2e.conftest import COMMAND, FleetMaker, RunningFleet
from tests.e2e.requests import generate, post, stream
from tests.e2e.test_kill import LIFECYCLE, in_background, model, wait_for
from tritonfleet.supervisor import lock

pytestmark = pytest.mark.e2e

Maker = Callable[..., RunningFleet]


def states(fleet: RunningFleet) -> dict[str, str]:
    return {entry.model: entry.state for entry in fleet.status().models}


def test_up_status_down(maker: Maker) -> None:
    fleet = maker([model("alpha"), model("beta")], lifecycle=LIFECYCLE)
    status = fleet.status()
    assert (status.state, states(fleet)) == ("ready", {"alpha": "ready", "beta": "ready"})
    table = fleet.command("status")
    assert "alpha" in table.stdout
    assert "cpu" in table.stdout
    down = fleet.command("down")
    assert down.returncode == 0, down.stderr
    assert not fleet.wait_all_gone()
    again = fleet.command("status")
    assert again.returncode == 6
    assert "is not running" in again.stderr
    assert "tritonfleet up" in again.stderr


def test_a_second_up_is_refused(maker: Maker) -> None:
    fleet = maker([model("alpha")], lifecycle=LIFECYCLE)
    again = fleet.command("up", "--detach")
    assert again.returncode == 6
    assert f"is up already (process {fleet.supervisor_pid})" in again.stderr


def test_two_fleets_live_side_by_side(maker: Maker) -> None:
    one = maker([model("alpha")], name="one", lifecycle=LIFECYCLE)
    two = maker([model("alpha")], name="two", lifecycle=LIFECYCLE)
    assert generate(one, "alpha").ok
    assert one.command("down").returncode == 0
    assert generate(two, "alpha").ok


def test_a_taken_port_is_named_with_its_owner(maker: Maker, tmp_path: Path) -> None:
    fleet = maker([model("alpha")], lifecycle=LIFECYCLE)
    text = fleet.spec_path.read_text().replace("name: test", "name: other")
    other = tmp_path / "other.yaml"
    other.write_text(text)
    argv = [*COMMAND, "up", str(other), "--detach", "--state", str(tmp_path / "other")]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 6
    assert f"port {fleet.http} is taken by tritonserver" in done.stderr


def test_a_broken_model_leaves_the_others_serving(maker: Maker) -> None:
    broken = model("broken", fail_start=9, fail_start_message="weights are damaged")
    fleet = maker([model("alpha"), broken], expect=5, lifecycle={**LIFECYCLE, "max_restarts": 1})
    assert states(fleet) == {"alpha": "ready", "broken": "failed"}
    assert generate(fleet, "alpha").ok
    entry = next(entry for entry in fleet.status().models if entry.model == "broken")
    assert "weights are damaged" in entry.reason
    loading = post(fleet, "/v2/repository/models/broken/load")
    assert loading.status != 200
    assert "weights are damaged" in loading.error
    assert generate(fleet, "alpha").ok


def test_unload_stops_the_engine_and_load_starts_it(maker: Maker) -> None:
    fleet = maker([model("alpha"), model("beta")], lifecycle=LIFECYCLE)
    assert post(fleet, "/v2/repository/models/alpha/unload").ok
    wait_for(lambda: states(fleet)["alpha"] == "stopped")
    assert fleet.status().models[0].replicas[0].pid is None
    assert generate(fleet, "beta").ok
    assert not generate(fleet, "alpha").ok
    client = grpcclient.InferenceServerClient(f"127.0.0.1:{fleet.grpc}")
    client.load_model("alpha")
    assert client.is_model_ready("alpha")
    assert generate(fleet, "alpha").ok
    client.unload_model("alpha")
    wait_for(lambda: states(fleet)["alpha"] == "stopped")
    client.close()


def test_a_reload_keeps_the_engine(maker: Maker) -> None:
    fleet = maker([model("alpha")], lifecycle=LIFECYCLE)
    pid = fleet.status().models[0].replicas[0].pid
    (fleet.layout.repository / "alpha" / "config.pbtxt").touch()
    assert post(fleet, "/v2/repository/models/alpha/load").ok
    assert generate(fleet, "alpha").ok
    assert fleet.status().models[0].replicas[0].pid == pid
    # With more instances: the old stub ends as two new ones start, which is no reason to start Triton again.
    config = fleet.layout.repository / "alpha" / "config.pbtxt"
    config.write_text(config.read_text().replace("count: 1", "count: 2"))
    assert "count: 2" in config.read_text()
    triton = fleet.status().triton_pid
    assert post(fleet, "/v2/repository/models/alpha/load").ok
    assert all(generate(fleet, "alpha").ok for _ in range(4))
    assert fleet.status().triton_pid == triton
    assert fleet.status().triton_restarts == 0


def test_a_model_that_is_not_to_be_loaded_waits_for_its_load(maker: Maker) -> None:
    fleet = maker([model("alpha"), {**model("later"), "load": False}], lifecycle=LIFECYCLE)
    assert states(fleet) == {"alpha": "ready", "later": "stopped"}
    assert post(fleet, "/v2/repository/models/later/load").ok
    assert generate(fleet, "later").ok


def test_down_finishes_running_requests_and_refuses_new_ones(maker: Maker) -> None:
    fleet = maker([model("alpha")], lifecycle=LIFECYCLE)
    client, outcomes = in_background(lambda: stream(fleet, "alpha", tokens=60))
    wait_for(lambda: (fleet.status().models[0].replicas[0].running or 0) > 0)
    down = threading.Thread(target=lambda: fleet.command("down"))
    down.start()
    wait_for(lambda: fleet.status().state == "draining")
    assert not generate(fleet, "alpha").ok
    client.join(timeout=60)
    down.join(timeout=60)
    assert outcomes[0].ok, outcomes[0].error
    assert len(outcomes[0].text.split()) >= 50
    assert not fleet.wait_all_gone()


def test_the_drain_deadline_ends_what_takes_too_long(maker: Maker) -> None:
    fleet = maker([model("alpha", tpot_ms=1000)], lifecycle=LIFECYCLE)
    client, _ = in_background(lambda: stream(fleet, "alpha", tokens=500))
    wait_for(lambda: (fleet.status().models[0].replicas[0].running or 0) > 0)
    assert fleet.command("down", "--drain", "1").returncode == 0
    client.join(timeout=60)
    assert not client.is_alive()
    assert not fleet.wait_all_gone()


def test_foreground_up_stops_on_ctrl_c(tmp_path: Path) -> None:
    factory = FleetMaker(tmp_path)
    fleet = factory.write([model("alpha")], lifecycle=LIFECYCLE)
    argv = [*COMMAND, "up", str(fleet.spec_path), "--state", str(fleet.layout.state)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            wait_for(lambda: lock.holder(fleet.layout) is not None and fleet.command("status").returncode == 0)
            wait_for(lambda: fleet.status().state == "ready")
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=60) == 0
        finally:
            process.kill()
    assert not fleet.wait_all_gone()


def test_logs_show_each_part(maker: Maker) -> None:
    fleet = maker([model("alpha")], lifecycle=LIFECYCLE)
    base = [*COMMAND, "logs", "--fleet", str(fleet.spec_path), "--state", str(fleet.layout.state)]
    for name, words in (("supervisor", "alpha: ready"), ("triton", "successfully loaded 'alpha'")):
        done = subprocess.run([*base[:4], name, *base[4:]], capture_output=True, text=True, timeout=60, check=False)
        assert words in done.stdout, done.stderr
    done = subprocess.run([*base[:4], "alpa", *base[4:]], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "did you mean 'alpha'?" in done.stderr


def test_a_wrong_spec_is_explained(tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text("models:\n  - name: a\n    sorce: demo://llama2\n")
    done = subprocess.run(
        [sys.executable, "-m", "tritonfleet", "up", str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert f"{path}:3: models[0].sorce: unknown key; did you mean `source`?" in done.stderr
    assert "Traceback" not in done.stderr


def python_model(folder: Path, name: str, config: str, code: str) -> None:
    (folder / name / "1").mkdir(parents=True)
    (folder / name / "config.pbtxt").write_text(config)
    (folder / name / "1" / "model.py").write_text(code)


DOUBLE = """
import numpy as np
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        return [
            pb_utils.InferenceResponse([
                pb_utils.Tensor("Y", pb_utils.get_input_tensor_by_name(request, "X").as_numpy() * np.float32(2))
            ])
            for request in requests
        ]
"""
TENSORS = 'input [{name: "X" data_type: TYPE_FP32 dims: [1]}]\noutput [{name: "Y" data_type: TYPE_FP32 dims: [1]}]\n'


def test_ordinary_triton_models_serve_beside_the_llms(maker: Maker, tmp_path: Path) -> None:
    folder = tmp_path / "others"
    batching = "dynamic_batching {max_queue_delay_microseconds: 1000}\n"
    python_model(folder, "double", f'backend: "python"\nmax_batch_size: 8\n{TENSORS}{batching}', DOUBLE)
    steps = """
    platform: "ensemble"
    max_batch_size: 8
    ensemble_scheduling {step [
      {model_name: "double" model_version: -1 input_map {key: "X" value: "X"} output_map {key: "Y" value: "half"}},
      {model_name: "double" model_version: -1 input_map {key: "X" value: "half"} output_map {key: "Y" value: "Y"}}
    ]}
    """
    (folder / "quadruple" / "1").mkdir(parents=True)
    (folder / "quadruple" / "config.pbtxt").write_text(TENSORS + steps)
    fleet = maker([model("alpha")], lifecycle=LIFECYCLE, repository={"include": [str(folder)]})
    wait_for(lambda: set(fleet.status().others) == {"double", "quadruple"})
    body: dict[str, Any] = {"inputs": [{"name": "X", "shape": [1, 1], "datatype": "FP32", "data": [3.0]}]}
    for name, value in (("double", 6.0), ("quadruple", 12.0)):
        outcome = post(fleet, f"/v2/models/{name}/infer", body)
        assert outcome.ok, outcome.error
        assert json.loads(outcome.text)["outputs"][0]["data"] == [value]
    assert generate(fleet, "alpha").ok
