"""NVIDIA's interface and the blueprint's through the real tritonserver, with fake engines behind it."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import pytest

from tests.bridge.conftest import Stage
from tests.bridge.stage import StreamError, until

pytestmark = [pytest.mark.e2e]

PROMPT = "the quick brown fox jumps over the lazy dog"
ANSWER = "the quick brown fox jumps over"


def sampling(**values: Any) -> str:
    """Return the value of sampling_parameters."""
    return json.dumps(values)


@pytest.fixture(scope="module")
def llm(stage: Stage) -> str:
    """Load a model whose answers repeat the prompt."""
    stage.model("llm", "--max-model-len", "100000")
    return "llm"


@pytest.fixture(scope="module")
def lora(stage: Stage) -> str:
    """Load a model with two adapters."""
    flags = ("--lora-modules", "doll=/none", "sheep=/none")
    stage.model("lora", *flags, loras=("doll", "sheep"), lora_enabled=True)
    return "lora"


def test_whole_answer_begins_with_the_prompt_unless_excluded(stage: Stage, llm: str) -> None:
    """Without streaming the default is prompt and answer in exactly one response."""
    echoed = stage.triton.generate(llm, {"text_input": PROMPT, "sampling_parameters": sampling(max_tokens=4)})
    alone = stage.triton.generate(
        llm, {"text_input": PROMPT, "sampling_parameters": sampling(max_tokens="4"), "exclude_input_in_output": True}
    )
    assert echoed["text_output"] == f"{PROMPT}the quick brown fox"
    assert alone["text_output"] == "the quick brown fox"


def test_stream_over_grpc(stage: Stage, llm: str) -> None:
    """Only new text in each response, the final flag on the last of them."""
    inputs = {"text_input": PROMPT, "stream": True, "sampling_parameters": sampling(max_tokens=6)}
    responses = stage.triton.infer(llm, inputs)
    assert "".join(response.text for response in responses) == ANSWER
    assert [response.final for response in responses] == [False] * (len(responses) - 1) + [True]
    assert responses[-1].text


def test_stream_over_http(stage: Stage, llm: str) -> None:
    """generate_stream sends the same as events."""
    body = {"text_input": PROMPT, "stream": True, "sampling_parameters": sampling(max_tokens=6)}
    status, text = stage.triton.post_raw(f"models/{llm}/generate_stream", body)
    events = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]
    assert status == 200
    assert "".join(event["text_output"] for event in events) == ANSWER


def test_sixteen_tokens_by_default(stage: Stage, llm: str) -> None:
    """As SamplingParams has it."""
    body = {"text_input": " ".join(map(str, range(40))), "return_num_output_tokens": True, "return_finish_reason": True}
    answer = stage.triton.generate(llm, body)
    assert (answer["num_output_tokens"], answer["finish_reason"]) == (16, "length")


def test_request_parameters_are_sampling_parameters(stage: Stage, llm: str) -> None:
    """Top-level keys of /generate; `id` is Triton's own."""
    body = {"text_input": PROMPT, "exclude_input_in_output": True, "max_tokens": 3, "temperature": "0.0", "id": "seven"}
    answer = stage.triton.generate(llm, body)
    assert (answer["text_output"], answer["id"]) == ("the quick brown", "seven")
    inputs = {"text_input": PROMPT, "stream": True}
    responses = stage.triton.infer(llm, inputs, parameters={"max_tokens": 2, "stop": "quick"}, request_id="1")
    assert "".join(response.text for response in responses).strip() == "the"


def test_all_outputs_of_a_whole_answer(stage: Stage, llm: str) -> None:
    """Each flag brings its output."""
    flags = ("finish_reason", "cumulative_logprob", "logprobs", "num_input_tokens", "num_output_tokens")
    body = {
        "text_input": PROMPT,
        "exclude_input_in_output": True,
        "sampling_parameters": sampling(max_tokens=3, logprobs=1),
        **{f"return_{flag}": True for flag in flags},
    }
    answer = stage.triton.generate(llm, body)
    entries = json.loads(answer["logprobs"])
    assert (answer["finish_reason"], answer["num_input_tokens"], answer["num_output_tokens"]) == ("length", 9, 3)
    assert answer["cumulative_logprob"] < 0
    assert "".join(next(v["decoded_token"] for v in entry.values() if v["rank"] == 1) for entry in entries) == (
        "the quick brown"
    )


def test_outputs_of_a_stream(stage: Stage, llm: str) -> None:
    """`None` as a text until the end; counts since the response before."""
    flags = ("return_finish_reason", "return_num_input_tokens", "return_num_output_tokens")
    inputs = {"text_input": PROMPT, "stream": True, "sampling_parameters": sampling(max_tokens=6)}
    responses = stage.triton.infer(llm, {**inputs, **dict.fromkeys(flags, True)})
    reasons = [response.tensors["finish_reason"][0] for response in responses]
    assert reasons == [b"None"] * (len(responses) - 1) + [b"length"]
    assert {int(response.tensors["num_input_tokens"]) for response in responses} == {9}
    assert sum(int(response.tensors["num_output_tokens"][0]) for response in responses) == 6


@pytest.mark.parametrize("stream", [True, False])
def test_several_choices(stage: Stage, llm: str, stream: bool) -> None:
    """Every output has one element for each."""
    inputs = {
        "text_input": "a b c",
        "stream": stream,
        "exclude_input_in_output": True,
        "sampling_parameters": sampling(n="2", max_tokens=2, ignore_eos=True),
        "return_num_output_tokens": True,
    }
    responses = stage.triton.infer(llm, inputs)
    assert ["".join(response.texts[choice] for response in responses) for choice in (0, 1)] == ["a b", "b c"]
    assert [sum(int(r.tensors["num_output_tokens"][choice]) for r in responses) for choice in (0, 1)] == [2, 2]


@pytest.mark.parametrize("prompt", ["안녕하세요 세계", "🦊🐕 fox 🇰🇷", "line\nbreak\ttab", "x" * 200_000])
def test_text_survives(stage: Stage, llm: str, prompt: str) -> None:
    """Korean, emoji, control characters, and a prompt larger than any buffer on the way."""
    inputs = {"text_input": prompt, "sampling_parameters": sampling(max_tokens=1)}
    (response,) = stage.triton.infer(llm, inputs)
    assert response.text.startswith(prompt)


def test_the_blueprints_client(stage: Stage, llm: str) -> None:
    """Parameters sent twice, and every TEXT holds the prompt and all text so far."""
    values = {"temperature": "0.01", "top_p": "1.0", "top_k": 20, "max_tokens": 6}
    inputs = {"PROMPT": PROMPT, "STREAM": True, "SAMPLING_PARAMETERS": sampling(**values)}
    responses = stage.triton.infer(llm, inputs, parameters=values, request_id="0")
    assert responses[-1].text == PROMPT + ANSWER
    assert all(responses[-1].text.startswith(response.text) for response in responses)
    assert list(responses[-1].tensors) == ["TEXT"]


def test_a_configuration_of_the_blueprint(stage: Stage) -> None:
    """Its own tensors, STREAM required, and nothing else."""
    config = """backend: "vllm"
max_batch_size: 0
model_transaction_policy { decoupled: True }
input [ { name: "PROMPT" data_type: TYPE_STRING dims: [ 1 ] },
        { name: "STREAM" data_type: TYPE_BOOL dims: [ 1 ] },
        { name: "SAMPLING_PARAMETERS" data_type: TYPE_STRING dims: [ 1 ] optional: true } ]
output [ { name: "TEXT" data_type: TYPE_STRING dims: [ -1 ] } ]
"""
    stage.model("blueprint", config=config)
    (response,) = stage.triton.infer("blueprint", {"PROMPT": PROMPT, "STREAM": False})
    assert response.text == PROMPT * 2
    metadata = stage.triton.get("models/blueprint")
    assert [tensor["name"] for tensor in metadata["inputs"]] == ["PROMPT", "STREAM", "SAMPLING_PARAMETERS"]


def test_the_completed_configuration(stage: Stage, llm: str) -> None:
    """Both interfaces, decoupled, without batching, text_input required."""
    config = stage.triton.get(f"models/{llm}/config")
    assert (config["max_batch_size"], config["model_transaction_policy"]["decoupled"]) == (0, True)
    assert [tensor["name"] for tensor in config["input"] if not tensor["optional"]] == ["text_input"]
    assert {"text_output", "TEXT"} <= {tensor["name"] for tensor in config["output"]}


def test_an_ensemble_over_the_model(stage: Stage, llm: str) -> None:
    """A pipeline step like any other."""
    config = """platform: "ensemble"
input [ { name: "ASK" data_type: TYPE_STRING dims: [ 1 ] } ]
output [ { name: "SAY" data_type: TYPE_STRING dims: [ -1 ] } ]
ensemble_scheduling { step [ { model_name: "llm" model_version: -1
  input_map { key: "text_input" value: "ASK" } output_map { key: "text_output" value: "SAY" } } ] }
"""
    stage.triton.add("ensemble", config)
    stage.triton.load("ensemble")
    answer = stage.triton.generate("ensemble", {"ASK": PROMPT})
    assert answer["SAY"] == PROMPT * 2


def test_loras(stage: Stage, lora: str, llm: str) -> None:
    """By name in the sampling parameters; the errors are NVIDIA's."""
    body = {"text_input": PROMPT, "exclude_input_in_output": True}
    assert stage.triton.generate(lora, {**body, "sampling_parameters": sampling(lora_name="doll")})["text_output"]
    with pytest.raises(StreamError, match=r"^LoRA cow is not supported, we currently support \['doll', 'sheep'\]$"):
        stage.triton.generate(lora, {**body, "sampling_parameters": sampling(lora_name="cow")})
    with pytest.raises(StreamError, match=r"^LoRA feature is not enabled\.$"):
        stage.triton.generate(llm, {**body, "sampling_parameters": sampling(lora_name="doll")})


@pytest.mark.parametrize(
    ("inputs", "what"),
    [
        (
            {"text_input": "x", "stream": True, "exclude_input_in_output": False},
            "Error generating stream: When streaming, `exclude_input_in_output` = False is not allowed.",
        ),
        ({"stream": True}, "text_input is missing"),
        ({"text_input": b"\xff"}, "text_input is not UTF-8"),
        ({"text_input": "x", "sampling_parameters": '{"temprature": 1}'}, "did you mean `temperature`?"),
        ({"text_input": "x", "sampling_parameters": '{"top_p": "a"}'}, "sampling_parameters: `top_p` must be a number"),
        ({"text_input": "x", "sampling_parameters": "nonsense"}, "sampling_parameters is not JSON"),
        ({"text_input": "x", "sampling_parameters": '{"min_tokens": -1}'}, "refused the request (400)"),
        ({"text_input": "x", "sampling_parameters": "[" * 20_000}, "sampling_parameters is not JSON"),
        ({"embedding_request": '{"input": "x"}'}, "Model llm does not support 'embed' request"),
    ],
)
def test_wrong_requests_are_named_and_harm_nobody(stage: Stage, llm: str, inputs: dict[str, Any], what: str) -> None:
    """An error on the stream, and the next request is served."""
    with pytest.raises(StreamError) as caught:
        stage.triton.infer(llm, inputs)
    assert what in str(caught.value)
    assert stage.triton.generate(llm, {"text_input": PROMPT})["text_output"]


def test_generate_says_that_it_takes_one_response(stage: Stage, llm: str) -> None:
    """Streaming through /generate is the client's mistake; Triton says so, and goes on."""
    _, text = stage.triton.post_raw(f"models/{llm}/generate", {"text_input": PROMPT, "stream": True})
    assert "exactly 1 response" in text or ANSWER in text


def test_cancelling_over_grpc_aborts_in_the_engine(stage: Stage) -> None:
    """Within a moment the engine runs nothing any more, and the log holds NVIDIA's two lines."""
    engine = stage.model("long", "--tpot-ms", "20")
    endless = sampling(max_tokens=4000, ignore_eos=True)
    inputs = {"text_input": PROMPT, "stream": True, "sampling_parameters": endless}
    with stage.triton.streaming("long", inputs) as responses:
        next(responses)
        assert engine.metric("vllm:num_requests_running") == 1
    until("the engine is idle", 5, lambda: engine.metric("vllm:num_requests_running") == 0)
    until("the log tells", 5, lambda: "[vllm] Successfully cancelled the request" in stage.triton.log.read_text())
    assert "[vllm] Cancelling the request" in stage.triton.log.read_text()


def test_cancelling_a_whole_answer(stage: Stage) -> None:
    """It is noticed although nothing was sent yet."""
    engine = stage.model("whole", "--tpot-ms", "20")
    inputs = {"text_input": PROMPT, "sampling_parameters": sampling(max_tokens=4000, ignore_eos=True)}
    with stage.triton.streaming("whole", inputs):
        until("the engine works", 5, lambda: engine.metric("vllm:num_requests_running") == 1)
    until("the engine is idle", 5, lambda: engine.metric("vllm:num_requests_running") == 0)


def test_a_dropped_http_client_aborts_in_the_engine(stage: Stage) -> None:
    """generate_stream's connection is looked at once the first event was sent."""
    engine = stage.model("dropped", "--tpot-ms", "20")
    body = {"text_input": PROMPT, "stream": True, "sampling_parameters": sampling(max_tokens=4000, ignore_eos=True)}
    request = urllib.request.Request(
        f"http://127.0.0.1:{stage.triton.http}/v2/models/dropped/generate_stream", json.dumps(body).encode()
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        assert response.read(5) == b"data:"
        assert engine.metric("vllm:num_requests_running") == 1
    until("the engine is idle", 5, lambda: engine.metric("vllm:num_requests_running") == 0)


def test_timeouts_abort_in_the_engine(stage: Stage) -> None:
    """KServe's timeout over gRPC and as a parameter of /generate (microseconds), and the model's default."""
    config = 'backend: "vllm"\nparameters { key: "REQUEST_TIMEOUT_SECONDS" value { string_value: "0.6" } }\n'
    engine = stage.model("timeout", "--tpot-ms", "20", config=config)
    endless = {"text_input": PROMPT, "sampling_parameters": sampling(max_tokens=4000, ignore_eos=True)}
    with pytest.raises(StreamError, match=r"Request timeout expired: no complete answer within 0\.3 s"):
        stage.triton.infer("timeout", endless, timeout=300_000)
    with pytest.raises(StreamError, match=r"within 0\.2 s"):
        stage.triton.generate("timeout", {**endless, "timeout": 200_000})
    with pytest.raises(StreamError, match=r"within 0\.6 s"):
        stage.triton.generate("timeout", endless)
    until("the engine is idle", 5, lambda: engine.metric("vllm:num_requests_running") == 0)


def test_priority_reaches_the_engine(stage: Stage) -> None:
    """With one turn at a time, the lower number goes first."""
    engine = stage.model("turns", "--tpot-ms", "10", "--max-running", "1")
    body = {"text_input": PROMPT, "sampling_parameters": sampling(max_tokens=60, ignore_eos=True)}
    with stage.triton.streaming("turns", {**body, "stream": True}) as running:
        next(running)
        with stage.triton.streaming("turns", body) as later:
            until("one waits", 5, lambda: engine.metric("vllm:num_requests_waiting") == 1)
            urgent = {**body, "sampling_parameters": sampling(max_tokens=1, priority=-5)}
            with stage.triton.streaming("turns", urgent) as first:
                assert next(first).final
                assert engine.metric("vllm:num_requests_running") == 1
            assert next(later).final
