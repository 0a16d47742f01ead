"""Requests read from tensors and parameters."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tritonfleet.bridge.failure import Code, InvalidRequest, Unsupported
from tritonfleet.bridge.generation import STREAM_WITH_ECHO, Embedding, Generation, Outputs, Raw, parse
from tritonfleet.wire import Route

ROUTE = Route("m", "vllm", "m", (), loras=("doll", "sheep"), lora_enabled=True)


def request(
    parameters: dict[str, Any] | None = None, *, route: Route = ROUTE, timeout_us: int = 0, **tensors: Any
) -> Generation:
    """Return the generation that these tensors and parameters ask for."""
    packed = {
        name: [
            value.encode()
            if isinstance(value, str)
            else json.dumps(value).encode()
            if isinstance(value, dict)
            else value
        ]
        for name, value in tensors.items()
    }
    found = parse(Raw(packed, json.dumps(parameters or {}), timeout_us), route)
    assert isinstance(found, Generation)
    return found


@given(st.text())
def test_prompts_arrive_as_they_are(text: str) -> None:
    """Korean, emoji, newlines and nothing at all."""
    prompt = text.encode("utf-8", "ignore").decode()
    assert request(text_input=prompt).prompt == prompt


def test_defaults_are_nvidias() -> None:
    """Without streaming the prompt is echoed; with it only new text is sent."""
    assert request(text_input="x") == Generation("x", stream=False, echo=True)
    assert request(text_input="x", stream=True) == Generation("x", stream=True, echo=False)
    assert request(text_input="x", exclude_input_in_output=True).echo is False
    assert request(text_input="x", stream=True, exclude_input_in_output=True).echo is False


def test_streaming_with_echo_is_refused_in_nvidias_words() -> None:
    """The text is what NVIDIA's tests compare."""
    with pytest.raises(InvalidRequest) as caught:
        request(text_input="x", stream=True, exclude_input_in_output=False)
    assert str(caught.value) == STREAM_WITH_ECHO


def test_the_tensor_wins_over_request_parameters() -> None:
    """They are never merged."""
    parameters = {"temperature": "0.5", "max_tokens": 7}
    assert request(parameters, text_input="x").sampling == {"temperature": 0.5, "max_tokens": 7}
    assert request(parameters, text_input="x", sampling_parameters={"top_k": 1}).sampling == {"top_k": 1}


def test_parameters_of_triton_are_no_sampling_parameters() -> None:
    """Triton's HTTP front passes `id` and others among them."""
    own = {
        "id": "7",
        "triton_enable_empty_final_response": True,
        "sequence_id": 0,
        "timeout": 1_500_000,
        "priority": "3",
    }
    found = request(own, text_input="x")
    assert (found.sampling, found.timeout_seconds, found.priority) == ({}, 1.5, 3)


def test_standard_priority_and_timeout_hold_beside_the_tensor() -> None:
    """Only sampling parameters are ignored when the tensor is there."""
    found = request(
        {"priority": 2, "temperature": "x"}, text_input="x", sampling_parameters={"priority": 9}, timeout_us=10
    )
    assert (found.priority, found.timeout_seconds) == (2, 1e-5)


@pytest.mark.parametrize("timeout", ["soon", -1, [1]])
def test_a_wrong_timeout_is_named(timeout: object) -> None:
    """It is a number of microseconds."""
    with pytest.raises(InvalidRequest, match="timeout must"):
        request({"timeout": timeout}, text_input="x")


def test_outputs_are_those_whose_flags_are_set() -> None:
    """A flag that is false asks for nothing."""
    found = request(text_input="x", return_finish_reason=True, return_logprobs=False, return_num_output_tokens=True)
    assert found.outputs == Outputs(finish_reason=True, num_output_tokens=True)


def test_the_blueprints_interface() -> None:
    """PROMPT is echoed, and every response holds all text so far."""
    found = request({"max_tokens": 9}, PROMPT="x", STREAM=True, SAMPLING_PARAMETERS={"top_k": "20"})
    assert found == Generation("x", stream=True, echo=True, cumulative=True, sampling={"top_k": 20})


def test_both_prompts_are_refused() -> None:
    """It is not clear which of them is meant."""
    with pytest.raises(InvalidRequest, match="send one of them"):
        request(text_input="x", PROMPT="y")


def test_a_missing_prompt_is_named() -> None:
    """Triton only counts inputs, so a request with another tensor alone comes through."""
    with pytest.raises(InvalidRequest, match="text_input is missing"):
        request(stream=True)


def test_loras_by_name() -> None:
    """The adapter must be known; the texts are NVIDIA's."""
    assert request(text_input="x", sampling_parameters={"lora_name": "doll"}).lora == "doll"
    assert request({"lora_name": "sheep"}, text_input="x").lora == "sheep"
    with pytest.raises(InvalidRequest) as caught:
        request(text_input="x", sampling_parameters={"lora_name": "bactrian"})
    assert str(caught.value) == "LoRA bactrian is not supported, we currently support ['doll', 'sheep']"
    with pytest.raises(InvalidRequest) as caught:
        request(text_input="x", sampling_parameters={"lora_name": "doll"}, route=Route("m", "vllm", "m", ()))
    assert str(caught.value) == "LoRA feature is not enabled."


@pytest.mark.parametrize(
    ("tensors", "what"),
    [
        ({"text_input": [b"\xff\xfe"]}, "text_input is not UTF-8 text"),
        ({"text_input": [b"a", b"b"]}, "text_input must hold one element, got 2"),
        ({"text_input": [b"a"], "sampling_parameters": [b"{"]}, "sampling_parameters is not JSON"),
        ({"text_input": [b"a"], "sampling_parameters": [b"[1]"]}, "sampling_parameters must be a JSON object"),
        ({"text_input": [b"a"], "sampling_parameters": [b'{"n": 0}']}, "sampling_parameters: `n` must be at least 1"),
        ({"PROMPT": [b"a"], "SAMPLING_PARAMETERS": [b'{"n": "x"}']}, "SAMPLING_PARAMETERS: `n` must be an integer"),
        ({"embedding_request": [b"{}"]}, "embedding_request: `input` must be"),
        ({"embedding_request": [b'{"input": [true]}']}, "embedding_request: `input` must be"),
        ({"embedding_request": [b'{"input": "x", "pooling_params": 3}']}, "embedding_request: `pooling_params`"),
        (
            {"embedding_request": [b'{"input": "x", "pooling_params": {"dimensions": [1, 2]}}']},
            "embedding_request: `dimensions` must be a positive integer",
        ),
    ],
)
def test_wrong_tensors_are_named(tensors: dict[str, list[Any]], what: str) -> None:
    """The message begins with the field, and the code is INVALID_ARG."""
    with pytest.raises(InvalidRequest) as caught:
        parse(Raw(tensors), ROUTE)
    assert str(caught.value).startswith(what)
    assert caught.value.code is Code.INVALID_ARG


def test_embeddings_need_no_prompt() -> None:
    """The request travels in one tensor, dimensions as a number or a list of one."""
    for dimensions in (8, [8]):
        text = json.dumps({"input": [1, 2], "pooling_params": {"dimensions": dimensions}})
        assert parse(Raw({"embedding_request": [text.encode()]}), ROUTE) == Embedding([1, 2], 8)


def test_images_are_refused_with_the_way_that_works() -> None:
    """The completions API takes no images."""
    with pytest.raises(Unsupported, match="chat/completions"):
        parse(Raw({"text_input": [b"x"], "image": [b"..."]}), ROUTE)


@given(st.binary())
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """No text in sampling_parameters or the parameters makes it fail in another way."""
    text = data.decode("latin-1")
    for raw in (Raw({"text_input": [b"x"], "sampling_parameters": [data]}), Raw({"text_input": [b"x"]}, text)):
        with suppress(InvalidRequest):
            parse(raw, ROUTE)
