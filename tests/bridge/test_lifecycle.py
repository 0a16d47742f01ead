"""Loading, unloading, failing and counting through the real tritonserver, with fake engines behind it."""

from __future__ import annotations

import json
import threading

import pytest

from tests.bridge.conftest import Stage
from tests.bridge.stage import StreamError, until

pytestmark = [pytest.mark.e2e]

PROMPT = "the quick brown fox jumps over the lazy dog"
ENDLESS = json.dumps({"max_tokens": 4000, "ignore_eos": True})


def parameter(name: str, value: str) -> str:
    """Return a config.pbtxt with one parameter."""
    return f'backend: "vllm"\nparameters {{ key: "{name}" value {{ string_value: "{value}" }} }}\n'


def failing_load(stage: Stage, name: str) -> str:
    """Load a model that must fail; return Triton's reason."""
    status, body = stage.triton.post(f"repository/models/{name}/load", {})
    assert status != 200
    return str(body["error"])


def test_a_load_asks_the_supervisor_and_an_unload_tells_it(stage: Stage) -> None:
    """With the name, the version and the folder that holds the versions."""
    stage.model("loaded")
    call = next(body for kind, body in stage.supervisor.calls if kind == "acquire" and body["model"] == "loaded")
    assert call == {"model": "loaded", "version": "1", "model_dir": str(stage.triton.repository / "loaded")}
    stage.triton.unload("loaded")
    assert stage.supervisor.asked("release") == ["loaded"]
    assert "[vllm] Shutdown complete" in stage.triton.log.read_text()


def test_an_unload_lets_running_requests_finish(stage: Stage) -> None:
    """The engine is given back after the last answer."""
    stage.model("busy", "--tpot-ms", "20")
    inputs = {"text_input": PROMPT, "stream": True, "sampling_parameters": '{"max_tokens": 40, "ignore_eos": true}'}
    with stage.triton.streaming("busy", inputs) as responses:
        next(responses)
        stage.triton.post("repository/models/busy/unload", {})
        assert "busy" not in stage.supervisor.asked("release")
        assert list(responses)[-1].final
    until("the engine is given back", 10, lambda: "busy" in stage.supervisor.asked("release"))


def test_a_load_tells_why_it_failed(stage: Stage) -> None:
    """The supervisor's words are in Triton's error; others go on serving."""
    stage.triton.add("broken", arguments={"model": "x"})
    stage.supervisor.refusals["broken"] = "broken: the engine ended with status 3: no such file: weights"
    assert "broken: the engine ended with status 3: no such file: weights" in failing_load(stage, "broken")
    del stage.supervisor.refusals["broken"]
    stage.route("broken", stage.engine("broken"))
    stage.triton.load("broken")


def test_what_is_wrong_with_a_models_files(stage: Stage) -> None:
    """NVIDIA's words where there are any."""
    folder = stage.triton.add("bare")
    assert f"'model.json' containing vllm engine args must be provided in '{folder}'" in failing_load(stage, "bare")
    stage.triton.add("bare", parameter("REQUEST_TIMEOUT_SECONDS", "soon"), {"model": "x"})
    assert "REQUEST_TIMEOUT_SECONDS must be a number of seconds" in failing_load(stage, "bare")
    stage.triton.add("bare", 'backend: "vllm"\nmodel_transaction_policy { decoupled: false }\n', {"model": "x"})
    assert "decoupled" in failing_load(stage, "bare")
    assert "bare" not in stage.supervisor.asked("acquire")


def test_an_engine_that_dies_midway_and_one_that_is_not_there(stage: Stage) -> None:
    """An error with the supervisor's reason, never a hang, and service again when the engine is back."""
    engine = stage.model("mortal", "--tpot-ms", "20")
    stage.supervisor.reasons["mortal"] = "restart 1 of 5 in 2 s"
    inputs = {"text_input": PROMPT, "stream": True, "sampling_parameters": ENDLESS}
    with stage.triton.streaming("mortal", inputs) as responses:
        next(responses)
        engine.kill()
        with pytest.raises(StreamError, match=r"mortal: the fake engine broke off .*restart 1 of 5 in 2 s"):
            list(responses)
    with pytest.raises(StreamError, match=r"mortal: the fake engine does not answer .*restart 1 of 5 in 2 s"):
        stage.triton.generate("mortal", {"text_input": PROMPT})
    back = stage.engine("mortal")
    back.socket.rename(engine.socket)
    assert stage.triton.generate("mortal", {"text_input": PROMPT})["text_output"] == PROMPT * 2


def test_replicas(stage: Stage) -> None:
    """Requests spread over two engines, and all go to the other when one is gone."""
    first, second = stage.engine("pair", "--tpot-ms", "20"), stage.engine("pair", "--tpot-ms", "20")
    stage.route("pair", first, second)
    stage.triton.add("pair", arguments={"model": "pair"})
    stage.triton.load("pair")
    inputs = {"text_input": PROMPT, "stream": True, "sampling_parameters": ENDLESS}
    with stage.triton.streaming("pair", inputs) as one, stage.triton.streaming("pair", inputs) as other:
        next(one), next(other)
        assert [engine.metric("vllm:num_requests_running") for engine in (first, second)] == [1, 1]
    first.kill()
    for _ in range(4):
        assert stage.triton.generate("pair", {"text_input": "a", "max_tokens": 1})["text_output"] == "aa"


def test_the_health_check_unloads_a_sick_model(stage: Stage) -> None:
    """NVIDIA's texts: the request's, and then Triton's own."""
    stage.model("sick", "--sick-health-after", "0.5", config=parameter("ENABLE_VLLM_HEALTH_CHECK", "true"))

    def refusal() -> str:
        try:
            stage.triton.generate("sick", {"text_input": PROMPT})
        except StreamError as err:
            return str(err)
        return ""

    first = until("the health check fails", 10, refusal)
    assert first == "Model is unavailable due to unhealthy vLLM engine"
    until("the model is unloaded", 10, lambda: stage.triton.state("sick") == "UNAVAILABLE")
    assert refusal() == "Request for unknown model: 'sick' has no available versions"


def test_metrics_of_nvidias_backend(stage: Stage) -> None:
    """Exact sums, one observation per request and per gap; not one line of a model that did not ask."""
    stage.model("counted", config=parameter("REPORT_CUSTOM_METRICS", "true"))
    stage.model("quiet")
    for model in ("counted", "quiet"):
        for _ in range(3):
            stage.triton.generate(model, {"text_input": PROMPT, "ignore_eos": True})
    value = stage.triton.metric
    until("all are counted", 5, lambda: value("vllm:generation_tokens_total", model="counted") == 48)
    until("also the other", 5, lambda: value("tritonfleet_bridge_requests_total", model="quiet") == 3)
    assert value("vllm:prompt_tokens_total", model="counted", version="1") == 27
    counts = {
        "vllm:time_to_first_token_seconds": 3,
        "vllm:time_per_output_token_seconds": 45,
        "vllm:e2e_request_latency_seconds": 3,
        "vllm:request_prompt_tokens": 3,
        "vllm:request_generation_tokens": 3,
        "vllm:request_params_n": 3,
    }
    assert {name: value(f"{name}_count", model="counted") for name in counts} == counts
    assert value("vllm:request_generation_tokens_sum", model="counted") == 48
    assert not [line for line in stage.triton.metrics().splitlines() if "vllm:" in line and 'model="quiet"' in line]


def test_own_counters(stage: Stage) -> None:
    """Outcomes as they were, and nothing in flight at the end."""
    stage.model("own", "--tpot-ms", "20")
    value = stage.triton.metric
    inputs = {"text_input": PROMPT, "stream": True, "sampling_parameters": ENDLESS}
    with stage.triton.streaming("own", inputs) as responses:
        next(responses)
        until("one is in flight", 5, lambda: value("tritonfleet_bridge_in_flight", model="own") == 1)
    stage.triton.generate("own", {"text_input": PROMPT, "max_tokens": 2})
    with pytest.raises(StreamError):
        stage.triton.generate("own", {"text_input": PROMPT, "temprature": 1})
    for outcome in ("cancelled", "success", "refused"):
        until(outcome, 5, lambda: value("tritonfleet_bridge_requests_total", model="own", outcome=outcome) == 1)  # noqa: B023
    until("none is in flight", 5, lambda: value("tritonfleet_bridge_in_flight", model="own") == 0)


def test_many_at_once(stage: Stage) -> None:
    """200 streams side by side: every answer is whole, and the metrics do not crash the server."""
    stage.model("many", "--tpot-ms", "2", config=parameter("REPORT_CUSTOM_METRICS", "true"))
    inputs = {"text_input": PROMPT, "stream": True, "sampling_parameters": '{"max_tokens": 30, "ignore_eos": true}'}
    wanted = " ".join((PROMPT.split() * 4)[:30])
    texts: list[str] = []

    def ask() -> None:
        for _ in range(10):
            texts.append("".join(response.text for response in stage.triton.infer("many", inputs)))

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert texts == [wanted] * 200
    until("all are counted", 20, lambda: stage.triton.metric("vllm:generation_tokens_total", model="many") == 6000)


def test_several_instances(stage: Stage) -> None:
    """Each instance takes hold of the engines, and gives them back."""
    stage.model("three", config='backend: "vllm"\ninstance_group [ { count: 3 kind: KIND_MODEL } ]\n')
    for _ in range(6):
        assert stage.triton.generate("three", {"text_input": "a", "max_tokens": 1})["text_output"] == "aa"
    stage.triton.unload("three")
    assert (stage.supervisor.asked("acquire").count("three"), stage.supervisor.asked("release").count("three")) == (
        3,
        3,
    )
