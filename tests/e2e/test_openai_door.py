"""The same answers at every door: Triton's HTTP and gRPC, the gateway, and the engine itself."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import aclosing
from typing import Any

import aiohttp
import pytest

from tests.e2e.conftest import RunningFleet
from tests.e2e.doors import ALL, Answer, Doors, ask
from tests.e2e.openai_door import openai_door

pytestmark = pytest.mark.e2e

PROMPT = "<s>[INST] What is a KV cache? [/INST]"
KOREAN = "[INST] 트라이톤은 무엇인가요? [/INST]"
GREEDY: dict[str, Any] = {"temperature": 0, "max_tokens": 24}


@pytest.fixture(scope="module")
def doors(demo_fleet: RunningFleet) -> Iterator[Doors]:
    """All doors of the demo fleet."""
    with openai_door(demo_fleet) as url:
        yield Doors(demo_fleet, url)


async def same_everywhere(doors: Doors, prompt: str, sampling: dict[str, Any], model: str = "llama2") -> Answer:
    """Ask every door, streaming and not; all must give the same; return what they gave."""
    answers: dict[str, Answer] = {}
    for stream in (False, True):
        for name in ALL:
            answers[f"{name}, stream {stream}"] = await ask(name, doors, model, prompt, {**sampling, "stream": stream})
    expected = answers["engine, stream False"]
    different = {name: answer for name, answer in answers.items() if answer != expected}
    assert not different, f"the engine: {expected}"
    return expected


@pytest.mark.parametrize("model", ["llama2", "mistral7b"])
async def test_greedy(doors: Doors, model: str) -> None:
    answer = await same_everywhere(doors, PROMPT, GREEDY, model)
    assert answer.texts[0]
    assert answer.prompt_tokens > 5


async def test_an_answer_that_is_cut_off(doors: Doors) -> None:
    answer = await same_everywhere(doors, PROMPT, {"temperature": 0, "max_tokens": 5, "ignore_eos": True})
    assert (answer.answer_tokens, answer.finish_reasons) == (5, ("length",))


async def test_stop_strings(doors: Doors) -> None:
    whole = (await ask("engine", doors, "llama2", PROMPT, {**GREEDY, "ignore_eos": True})).texts[0]
    stop = whole.split()[2]
    answer = await same_everywhere(doors, PROMPT, {**GREEDY, "ignore_eos": True, "stop": [stop, "never seen"]})
    assert answer.finish_reasons == ("stop",)
    assert answer.texts[0] == whole[: whole.index(stop)]


async def test_seeds(doors: Doors) -> None:
    sampling = {"temperature": 1.5, "max_tokens": 16, "ignore_eos": True}
    seven = await same_everywhere(doors, PROMPT, {**sampling, "seed": 7})
    eight = await same_everywhere(doors, PROMPT, {**sampling, "seed": 8})
    assert seven.texts != eight.texts


async def test_logprobs(doors: Doors) -> None:
    answer = await same_everywhere(doors, PROMPT, {**GREEDY, "ignore_eos": True, "logprobs": 2})
    assert len(answer.logprobs) == answer.answer_tokens == 24
    assert all(value <= 0 for _, value in answer.logprobs)


async def test_two_choices(doors: Doors) -> None:
    answer = await same_everywhere(doors, PROMPT, {"temperature": 1.5, "seed": 3, "n": 2, "max_tokens": 12})
    assert len(answer.texts) == 2
    assert answer.texts[0] != answer.texts[1]


async def test_characters_that_are_split_across_tokens(doors: Doors) -> None:
    text = "한국어 🙂🚀 é"
    sampling = {**GREEDY, "max_tokens": 40, "structured_outputs": {"choice": [text]}}
    answer = await same_everywhere(doors, KOREAN, sampling)
    assert answer.texts == (text,)
    assert answer.answer_tokens > len(text.split())


async def test_korean(doors: Doors) -> None:
    answer = await same_everywhere(doors, KOREAN, {**GREEDY, "ignore_eos": True})
    assert "�" not in answer.texts[0][:-1]


@pytest.mark.parametrize("name", ALL)
async def test_a_client_that_goes_away_ends_the_generation(doors: Doors, name: str) -> None:
    sampling = {"temperature": 0, "max_tokens": 480, "ignore_eos": True, "stream": True}
    async with aclosing(ALL[name](doors, "llama2", "one", sampling)) as events:
        await anext(aiter(events))
        assert await running(doors, "llama2") == 1
    async with asyncio.timeout(10):
        while await running(doors, "llama2"):  # noqa: ASYNC110 - the engine's gauge has no event
            await asyncio.sleep(0.05)
    assert await aborted(doors, "llama2") >= 1


async def test_a_whole_answer_whose_client_goes_away_is_aborted(doors: Doors) -> None:
    before = await aborted(doors, "llama2")
    body = {"model": "llama2", "prompt": "one", "temperature": 0, "max_tokens": 490, "ignore_eos": True}
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=0.5)) as session:
        with pytest.raises(TimeoutError):
            await session.post(f"{doors.openai}/v1/completions", json=body)
    async with asyncio.timeout(10):
        while await aborted(doors, "llama2") == before:  # noqa: ASYNC110 - a counter has no event
            await asyncio.sleep(0.05)
    assert await running(doors, "llama2") == 0


async def test_tokenize_at_the_gateway_is_the_engines(doors: Doors) -> None:
    async with aiohttp.ClientSession(doors.openai) as session:
        for model in ("llama2", "mistral7b"):
            async with session.post("/tokenize", json={"model": model, "prompt": KOREAN}) as answer:
                tokens = (await answer.json())["tokens"]
            async with session.post("/detokenize", json={"model": model, "tokens": tokens}) as answer:
                assert KOREAN in (await answer.json())["prompt"]


async def test_what_this_model_cannot_do_is_said_clearly(doors: Doors) -> None:
    async with aiohttp.ClientSession(doors.openai) as session:
        async with session.post("/v1/embeddings", json={"model": "llama2", "input": "x"}) as answer:
            body = await answer.json()
            assert answer.status in (400, 501)
            assert body["error"]["src"] == "engine"
        async with session.post("/v1/completions", json={"model": "llama", "prompt": "x"}) as answer:
            assert answer.status == 404
            assert "did you mean 'llama2'?" in (await answer.json())["error"]["message"]
        async with session.post(
            "/v1/completions", json={"model": "llama2", "prompt": "x", "max_tokens": 100_000}
        ) as answer:
            body = await answer.json()
            assert (answer.status, body["error"]["src"]) == (400, "engine")


async def gauge(doors: Doors, model: str, start: str) -> float:
    """Return the sum of the engine's own metrics that start so."""
    connector = aiohttp.UnixConnector(doors.engine_socket(model))
    async with aiohttp.ClientSession(connector=connector) as session, session.get("http://engine/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(start))


async def running(doors: Doors, model: str) -> float:
    return await gauge(doors, model, "vllm:num_requests_running{")


async def aborted(doors: Doors, model: str) -> float:
    connector = aiohttp.UnixConnector(doors.engine_socket(model))
    async with aiohttp.ClientSession(connector=connector) as session, session.get("http://engine/metrics") as answer:
        lines = (await answer.text()).splitlines()
    found = [line for line in lines if line.startswith("vllm:request_success_total{") and '"abort"' in line]
    return sum(float(line.rsplit(" ", 1)[1]) for line in found)
