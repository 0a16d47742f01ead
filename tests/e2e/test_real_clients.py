"""The clients that people use, unchanged, against a real fleet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import numpy as np
import openai
import pytest
import tritonclient.grpc as grpcclient
import tritonclient.grpc.aio as grpcaio
import tritonclient.http as httpclient
import tritonclient.http.aio as httpaio
from langchain_openai import ChatOpenAI
from tritonclient.utils import InferenceServerException

from tests.e2e.conftest import RunningFleet

pytestmark = pytest.mark.e2e

QUESTION = "What is a KV cache?"
GREEDY = {"temperature": 0}
CHAT: Any = [{"role": "user", "content": QUESTION}]


@pytest.fixture(scope="module")
def url(demo_fleet: RunningFleet) -> str:
    """URL of the OpenAI door."""
    return f"http://127.0.0.1:{demo_fleet.openai}"


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    """OpenAI's own client."""
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as made:
        yield made


@pytest.mark.parametrize("model", ["llama2", "mistral7b"])
def test_openai_chat(client: openai.OpenAI, model: str) -> None:
    whole = client.chat.completions.create(model=model, messages=CHAT, temperature=0, max_tokens=24)
    assert whole.model == model
    assert whole.usage is not None
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    stream = client.chat.completions.create(
        model=model, messages=CHAT, temperature=0, max_tokens=24, stream=True, stream_options={"include_usage": True}
    )
    text, usage = "", None
    for chunk in stream:
        usage = chunk.usage or usage
        text += "".join(choice.delta.content or "" for choice in chunk.choices)
    assert text == whole.choices[0].message.content
    assert usage == whole.usage


def test_openai_models_and_errors(client: openai.OpenAI) -> None:
    assert {model.id for model in client.models.list()} == {"llama2", "mistral7b"}
    assert client.models.retrieve("llama2").id == "llama2"
    with pytest.raises(openai.NotFoundError) as unknown:
        client.chat.completions.create(model="lama2", messages=CHAT)
    assert "did you mean 'llama2'?" in unknown.value.message
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as long:
        client.completions.create(model="llama2", prompt="x", max_tokens=100_000)
    assert isinstance(long.value.body, dict)
    assert long.value.body["src"] == "engine"


def test_openai_responses(client: openai.OpenAI) -> None:
    answer = client.responses.create(model="llama2", input=QUESTION, temperature=0, max_output_tokens=24)
    chat = client.chat.completions.create(model="llama2", messages=CHAT, temperature=0, max_tokens=24)
    assert answer.output_text == chat.choices[0].message.content
    with client.responses.stream(model="llama2", input=QUESTION, temperature=0, max_output_tokens=24) as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
    assert text == answer.output_text


async def test_openai_asyncio(url: str) -> None:
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none") as client:
        stream = await client.completions.create(
            model="mistral7b",
            prompt=QUESTION,
            max_tokens=8,
            temperature=0,
            stream=True,
            extra_body={"ignore_eos": True},
        )
        chunks = [chunk async for chunk in stream]
    assert chunks[-1].choices[0].finish_reason == "length"


def test_anthropic_messages(url: str, client: openai.OpenAI) -> None:
    with anthropic.Anthropic(base_url=url, api_key="none", max_retries=0) as claude:
        whole = claude.messages.create(model="llama2", messages=CHAT, max_tokens=24, extra_body=GREEDY)
        chat = client.chat.completions.create(model="llama2", messages=CHAT, temperature=0, max_tokens=24)
        assert chat.usage is not None
        block = whole.content[0]
        assert block.type == "text"
        assert block.text == chat.choices[0].message.content
        assert (whole.usage.input_tokens, whole.usage.output_tokens) == (
            chat.usage.prompt_tokens,
            chat.usage.completion_tokens,
        )
        with claude.messages.stream(model="llama2", messages=CHAT, max_tokens=24, extra_body=GREEDY) as stream:
            assert "".join(stream.text_stream) == block.text
        counted = claude.messages.count_tokens(model="llama2", messages=CHAT)
        assert counted.input_tokens == whole.usage.input_tokens
        with pytest.raises(anthropic.NotFoundError, match="did you mean 'llama2'"):
            claude.messages.create(model="lama2", messages=CHAT, max_tokens=8)


async def test_langchain(url: str) -> None:
    model = ChatOpenAI(model="llama2", base_url=f"{url}/v1", api_key="none", temperature=0, max_tokens=24)
    whole = model.invoke(QUESTION)
    assert whole.content
    assert "".join(str(chunk.content) for chunk in model.stream(QUESTION)) == whole.content
    assert (await model.ainvoke(QUESTION)).content == whole.content
    assert len(model.batch([QUESTION, "What is LoRA?"])) == 2


def inputs(module: Any) -> list[Any]:
    """Return the tensors of a short request, as tritonclient's *module* wants them."""
    values: list[tuple[str, str, Any]] = [
        ("text_input", "BYTES", np.array([QUESTION.encode()], dtype=np.object_)),
        ("stream", "BOOL", np.array([True])),
        ("sampling_parameters", "BYTES", np.array([b'{"temperature": 0, "max_tokens": 8}'], dtype=np.object_)),
    ]
    made = []
    for name, kind, value in values:
        tensor = module.InferInput(name, [1], kind)
        tensor.set_data_from_numpy(value)
        made.append(tensor)
    return made


async def test_tritonclient_grpc(demo_fleet: RunningFleet) -> None:
    from queue import SimpleQueue

    address = f"127.0.0.1:{demo_fleet.grpc}"
    results: SimpleQueue[Any] = SimpleQueue()
    with grpcclient.InferenceServerClient(address) as client:
        assert client.is_model_ready("llama2")
        assert client.get_model_config("llama2", as_json=True)["config"]["backend"] == "vllm"
        client.start_stream(lambda result, error: results.put((result, error)))
        client.async_stream_infer("llama2", inputs(grpcclient), enable_empty_final_response=True)
        sync: list[bytes] = []
        final = False
        while not final:
            result, error = results.get(timeout=60)
            assert error is None
            final = result.get_response().parameters["triton_final_response"].bool_param
            sync += result.as_numpy("text_output").tolist()
        client.stop_stream()

    async def requests() -> Any:
        yield {"model_name": "llama2", "inputs": inputs(grpcaio)}

    async with grpcaio.InferenceServerClient(address) as asynchronous:
        assert await asynchronous.is_server_ready()
        parts: list[bytes] = []
        async for result, error in asynchronous.stream_infer(requests()):
            assert error is None
            parts += result.as_numpy("text_output").tolist()
    assert b"".join(parts) == b"".join(sync) != b""


async def test_tritonclient_http(demo_fleet: RunningFleet) -> None:
    address = f"127.0.0.1:{demo_fleet.http}"
    with httpclient.InferenceServerClient(address) as client:
        assert client.is_server_ready()
        assert client.is_model_ready("mistral7b")
        names = {entry["name"] for entry in client.get_model_metadata("mistral7b")["inputs"]}
        assert {"text_input", "sampling_parameters"} <= names
        # KServe's /infer has no answer for a model that streams; Triton says so, and /generate is the way.
        with pytest.raises(InferenceServerException, match="decoupled"):
            client.infer("mistral7b", inputs(httpclient))
    async with httpaio.InferenceServerClient(address) as asynchronous:
        assert await asynchronous.is_model_ready("mistral7b")
        with pytest.raises(InferenceServerException, match="decoupled"):
            await asynchronous.infer("mistral7b", inputs(httpaio))
