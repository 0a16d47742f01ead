"""The same answers at every door: Triton's HTTP and gRPC, the gateway, and the engine itself."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import aiohttp
import pytest

from tests.e2e.conftest import RunningFleet
from tests.e2e.doors import ALL, Answer, Doors, ask

pytestmark = pytest.mark.e2e

PROMPT = "<s>[INST] What is a KV cache? [/INST]"
KOREAN = "[INST] 트라이톤은 무엇인가요? [/INST]"
#: The demo models are sure of what they were taught, so a seed shows only where they were taught nothing. top_k and
#: top_p are named: where they are absent, Triton's doors take vLLM's neutral values, as NVIDIA's backend does, and the
#: OpenAI API those of the model's generation_config.json.
UNKNOWN = "zzz"
HOT: dict[str, Any] = {"temperature": 2.0, "top_k": 0, "top_p": 1.0, "max_tokens": 32, "ignore_eos": True}
GREEDY: dict[str, Any] = {"temperature": 0, "max_tokens": 24}


@pytest.fixture(scope="module")
def doors(demo_fleet: RunningFleet) -> Doors:
    """All doors of the demo fleet."""
    return Doors(demo_fleet)


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
    seven = await same_everywhere(doors, UNKNOWN, {**HOT, "seed": 7})
    eight = await same_everywhere(doors, UNKNOWN, {**HOT, "seed": 8})
    assert seven.texts != eight.texts


async def test_logprobs(doors: Doors) -> None:
    answer = await same_everywhere(doors, PROMPT, {**GREEDY, "ignore_eos": True, "logprobs": 2})
    assert len(answer.logprobs) == answer.answer_tokens == 24
    assert all(value <= 0 for _, value in answer.logprobs)


async def test_two_choices(doors: Doors) -> None:
    answer = await same_everywhere(doors, UNKNOWN, {**HOT, "seed": 3, "n": 2})
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


#: So long that the demo model, which takes a millisecond a token, cannot end before a cancel arrives.
LONG: dict[str, Any] = {"temperature": 1, "n": 16, "max_tokens": 480, "ignore_eos": True}
LONG_TOKENS = 16 * 480


@pytest.mark.parametrize("name", ALL)
async def test_a_client_that_goes_away_ends_the_generation(doors: Doors, name: str) -> None:
    before = await generated(doors, "llama2")
    async with aclosing(ALL[name](doors, "llama2", "one", {**LONG, "stream": True})) as events:
        await anext(aiter(events))
    assert await generated_in_the_end(doors, "llama2") - before < LONG_TOKENS


async def test_a_whole_answer_whose_client_goes_away_is_aborted(doors: Doors) -> None:
    before = await generated(doors, "llama2")
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=0.3)) as session:
        with pytest.raises(TimeoutError):
            await session.post(f"{doors.openai}/v1/completions", json={"model": "llama2", "prompt": "one", **LONG})
    assert await generated_in_the_end(doors, "llama2") - before < LONG_TOKENS


async def test_tokenize_at_the_gateway_is_the_engines(doors: Doors) -> None:
    for model in ("llama2", "mistral7b"):
        connector = aiohttp.UnixConnector(doors.engine_socket(model))
        async with (
            aiohttp.ClientSession(doors.openai) as gateway,
            aiohttp.ClientSession("http://engine", connector=connector) as engine,
        ):
            asked = {"model": model, "prompt": KOREAN}
            found = [await post(session, "/tokenize", asked) for session in (gateway, engine)]
            assert found[0] == found[1]
            asked = {"model": model, "tokens": found[0]["tokens"]}
            texts = [await post(session, "/detokenize", asked) for session in (gateway, engine)]
            assert texts[0] == texts[1]
            assert "트라이톤은 무엇인가요?" in texts[0]["prompt"]


async def post(session: aiohttp.ClientSession, path: str, body: dict[str, Any]) -> Any:
    async with session.post(path, json=body) as answer:
        return await answer.json()


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


async def metric(doors: Doors, model: str, name: str) -> float:
    """Return the sum of the engine's own series of this name."""
    connector = aiohttp.UnixConnector(doors.engine_socket(model))
    async with aiohttp.ClientSession(connector=connector) as session, session.get("http://engine/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name + "{"))


async def generated(doors: Doors, model: str) -> float:
    """Return how many tokens the engine has generated so far."""
    return await metric(doors, model, "vllm:generation_tokens_total")


async def generated_in_the_end(doors: Doors, model: str) -> float:
    """Return how many tokens the engine has generated once it generates no more."""
    async with asyncio.timeout(30):
        while True:  # the engine's counters have no event
            before = await generated(doors, model)
            await asyncio.sleep(0.5)
            idle = await metric(doors, model, "vllm:num_requests_running") == 0
            if idle and await generated(doors, model) == before:
                return before
