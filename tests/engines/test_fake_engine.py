"""The fake engine as a process: vLLM's API, scripted pace, scripted failures."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
import pytest_asyncio

from tests.engines.fakes import FakeEngine, eventually, fake_engine

PROMPT = "Hello there, 안녕 세상 😀"


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine() -> AsyncIterator[FakeEngine]:
    """A fake engine without any trouble, shared by the tests that only ask."""
    async with fake_engine(
        "--served-model-name", "llama2", "--max-model-len", "64", "--lora-modules", "sql=/a"
    ) as fake:
        yield fake


def texts(events: list[dict[str, Any]], index: int = 0) -> str:
    """Join the texts of one choice."""
    return "".join(c["text"] for event in events for c in event["choices"] if c["index"] == index)


async def test_an_answer_repeats_the_prompt(engine: FakeEngine) -> None:
    """Deterministic, whole characters, with usage and a natural end."""
    body = await engine.complete(PROMPT, model="llama2", max_tokens=40)
    assert body["choices"][0]["text"] == PROMPT
    assert body["choices"][0]["finish_reason"] == "stop"
    count = body["usage"]["prompt_tokens"]
    assert body["usage"] == {"prompt_tokens": count, "completion_tokens": count + 1, "total_tokens": 2 * count + 1}
    assert await engine.complete(PROMPT, model="llama2", max_tokens=40) | {"id": "", "created": 0} == body | {
        "id": "",
        "created": 0,
    }


async def test_sixteen_tokens_are_the_default(engine: FakeEngine) -> None:
    """As in vLLM, and the reason is told."""
    body = await engine.complete(PROMPT, ignore_eos=True)
    assert body["usage"]["completion_tokens"] == 16
    assert body["choices"][0]["finish_reason"] == "length"


async def test_a_stream_says_the_same_token_by_token(engine: FakeEngine) -> None:
    """One event a token, the reason with the last, continuous usage, and one more event with the usage."""
    wanted = {
        "prompt": PROMPT,
        "max_tokens": 5,
        "stream_options": {"include_usage": True, "continuous_usage_stats": True},
    }
    events = [event async for event in engine.events("/v1/completions", wanted)]
    assert texts(events) == (await engine.complete(PROMPT, max_tokens=5))["choices"][0]["text"]
    assert [event["usage"]["completion_tokens"] for event in events] == [1, 2, 3, 4, 5, 5]
    assert [event["choices"][0]["finish_reason"] for event in events[:-1]] == [None] * 4 + ["length"]
    assert events[-1]["choices"] == []


async def test_usage_is_not_told_unasked(engine: FakeEngine) -> None:
    """Neither in the events nor after them."""
    events = [event async for event in engine.events("/v1/completions", {"prompt": PROMPT, "max_tokens": 2})]
    assert len(events) == 2
    assert not any("usage" in event for event in events)


async def test_a_chat_stream_begins_with_the_role(engine: FakeEngine) -> None:
    """And repeats the last message."""
    body = {"messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "one two three"}]}
    events = [event async for event in engine.events("/v1/chat/completions", body)]
    assert events[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert "".join(event["choices"][0]["delta"]["content"] for event in events) == "one two three"
    assert events[-1]["choices"][0]["finish_reason"] == "stop"
    status, whole = await engine.post("/v1/chat/completions", body)
    assert status == 200
    assert whole["choices"][0]["message"] == {"role": "assistant", "content": "one two three"}
    assert whole["usage"]["prompt_tokens"] > 3


async def test_several_prompts_and_choices(engine: FakeEngine) -> None:
    """n answers a prompt, each another one, numbered in vLLM's order, streamed or not."""
    body = {"prompt": ["a b c", "d e f"], "n": 2, "max_tokens": 3}
    whole = await engine.complete(body["prompt"], n=2, max_tokens=3)
    assert [(c["index"], c["text"]) for c in whole["choices"]] == [
        (0, "a b c"),
        (1, "b c a"),
        (2, "d e f"),
        (3, "e f d"),
    ]
    events = [event async for event in engine.events("/v1/completions", body)]
    assert [texts(events, index) for index in range(4)] == [choice["text"] for choice in whole["choices"]]


async def test_a_seed_changes_the_answer(engine: FakeEngine) -> None:
    """Same seed, same text."""
    one = [(await engine.complete("a b c", seed=seed, max_tokens=2))["choices"][0]["text"] for seed in (0, 1, 1)]
    assert one == ["a b", "b c", "b c"]


async def test_a_stop_string_ends_the_answer(engine: FakeEngine) -> None:
    """Across tokens, without showing its beginning in a stream first."""
    events = [event async for event in engine.events("/v1/completions", {"prompt": "one two three", "stop": ["wo th"]})]
    assert texts(events) == "one t"
    assert events[-1]["choices"][0]["stop_reason"] == "wo th"
    kept = await engine.complete("one two three", stop="wo th", include_stop_str_in_output=True)
    assert kept["choices"][0]["text"] == "one two th"


async def test_log_probabilities_and_token_ids(engine: FakeEngine) -> None:
    """The shapes that a client of vLLM reads."""
    body = await engine.complete(
        "a b c", logprobs=2, max_tokens=3, return_token_ids=True, return_tokens_as_token_ids=True
    )
    choice = body["choices"][0]
    assert choice["logprobs"]["tokens"] == [f"token_id:{token}" for token in choice["token_ids"]]
    assert all(len(table) == 2 for table in choice["logprobs"]["top_logprobs"])
    assert len(choice["prompt_token_ids"]) == 3
    plain = (await engine.complete("a b c", logprobs=1, max_tokens=3))["choices"][0]["logprobs"]
    assert plain["tokens"] == ["a", " b", " c"]
    assert plain["text_offset"] == [0, 1, 3]
    events = [
        event async for event in engine.events("/v1/completions", {"prompt": "a b c", "logprobs": 1, "max_tokens": 3})
    ]
    assert [event["choices"][0]["logprobs"]["text_offset"] for event in events] == [[0], [1], [3]]


async def test_text_survives_the_tokenizer(engine: FakeEngine) -> None:
    """tokenize and detokenize are inverse, and prompts may be token ids."""
    _, tokens = await engine.post("/tokenize", {"prompt": PROMPT, "return_token_strs": True})
    assert tokens["count"] == len(tokens["tokens"])
    assert "".join(tokens["token_strs"]) == PROMPT
    assert await engine.post("/detokenize", {"tokens": tokens["tokens"]}) == (200, {"prompt": PROMPT})
    assert (await engine.complete(tokens["tokens"]))["choices"][0]["text"] == PROMPT


async def test_models_and_adapters_are_listed(engine: FakeEngine) -> None:
    """Both names are served, others are not."""
    _, text = await engine.get("/v1/models")
    assert '"id": "llama2"' in text
    assert '"parent": "llama2"' in text
    assert (await engine.complete("a", model="sql"))["model"] == "sql"
    status, body = await engine.post("/v1/completions", {"prompt": "a", "model": "mistral"})
    assert (status, body["error"]["message"]) == (404, "The model `mistral` does not exist.")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": ["a", 1]}, "prompt"),
        ({"prompt": "a", "max_tokens": 0}, "max_tokens"),
        ({"prompt": "a", "max_tokens": "5"}, "max_tokens"),
        ({"prompt": "a", "n": 0}, "n"),
        ({"prompt": "a", "stop": [1]}, "stop"),
        ({"prompt": "a", "stop": ""}, "stop"),
        ({"prompt": "a", "stream_options": {"include_usage": True}}, "stream_options"),
        ({"prompt": "a " * 80, "max_tokens": 1}, "input_tokens"),
        ({"messages": []}, "prompt"),
    ],
)
async def test_a_bad_request_names_the_field(engine: FakeEngine, body: dict[str, Any], param: str) -> None:
    """Status 400 in vLLM's shape."""
    status, answer = await engine.post("/v1/completions", body)
    assert (status, answer["error"]["type"], answer["error"]["param"]) == (400, "BadRequestError", param)


async def test_what_is_no_json_is_a_bad_request(engine: FakeEngine) -> None:
    """No traceback."""
    async with engine.session.post(engine.url("/v1/completions"), data=b"{") as response:
        assert response.status == 400


async def test_a_client_that_goes_away_aborts_its_request() -> None:
    """Streaming or not, the running count falls and an abort is counted."""
    async with fake_engine("--tpot-ms", "60000") as engine:
        for number, stream in enumerate((True, False), 1):
            body = {"prompt": PROMPT, "stream": stream}
            request = asyncio.create_task(engine.post("/v1/completions", body))
            await engine.until("num_requests_running", 1)
            request.cancel()
            with suppress(asyncio.CancelledError):
                await request
            await engine.until("num_requests_running", 0)
            await engine.until("request_success_total", number, 'finished_reason="abort"')


async def test_more_requests_than_may_run_wait_in_the_order_of_their_priority() -> None:
    """The lowest number first; a waiting request can be aborted too."""
    async with fake_engine("--max-running", "1", "--ttft-ms", "60000") as engine:
        first = asyncio.create_task(engine.complete("first"))
        await engine.until("num_requests_running", 1)
        waiting = [asyncio.create_task(engine.complete(str(p), priority=p)) for p in (5, -5)]
        await engine.until("num_requests_waiting", 2)
        waiting[0].cancel()
        await engine.until("num_requests_waiting", 1)
        assert await engine.metric("num_requests_running") == 1
        assert await engine.metric("kv_cache_usage_perc") == 1
        first.cancel()
        await engine.until("num_requests_waiting", 0)
        waiting[1].cancel()
        await engine.until("num_requests_running", 0)


async def test_priority_decides_who_is_next() -> None:
    """Not the order of arrival; all three are in the queue before the first may run."""
    async with fake_engine("--max-running", "1", "--ttft-ms", "5") as engine:
        done: list[int] = []

        async def ask(priority: int) -> None:
            await engine.complete("x", priority=priority)
            done.append(priority)

        await engine.post("/sleep")
        tasks = [asyncio.create_task(ask(priority)) for priority in (3, 1, 2)]
        await engine.until("num_requests_waiting", 3)
        await engine.post("/wake_up")
        await asyncio.gather(*tasks)
        assert done == [1, 2, 3]


async def test_the_pace_is_the_scripted_one() -> None:
    """Time to the first token, then time between tokens; never faster."""
    async with fake_engine("--ttft-ms", "200", "--tpot-ms", "50") as engine:
        began = time.monotonic()
        stamps = [
            time.monotonic() - began
            async for _ in engine.events("/v1/completions", {"prompt": "a b", "max_tokens": 5, "ignore_eos": True})
        ]
        assert stamps[0] >= 0.2
        assert stamps[-1] >= 0.4
        assert await engine.metric("time_to_first_token_seconds_count") == 1
        assert await engine.metric("inter_token_latency_seconds_count") == 4


async def test_metrics_count_tokens_and_requests() -> None:
    """In vLLM's names."""
    async with fake_engine() as engine:
        await engine.complete("a b c", max_tokens=2)
        await engine.complete("a b c", max_tokens=40)
        assert await engine.metric("prompt_tokens_total") == 6
        assert await engine.metric("generation_tokens_total") == 6
        assert await engine.metric("request_success_total", 'finished_reason="length"') == 1
        assert await engine.metric("request_success_total", 'finished_reason="stop"') == 1
        assert await engine.metric("e2e_request_latency_seconds_count") == 2


async def test_sleep_holds_requests_until_wake_up() -> None:
    """Requests in flight are aborted, new ones wait, as with vLLM."""
    async with fake_engine("--tpot-ms", "20", "--answer-tokens", "1000", "--max-model-len", "2000") as engine:
        running = asyncio.create_task(engine.complete("a", max_tokens=1000))
        await engine.until("num_requests_running", 1)
        assert await engine.post("/sleep?level=1") == (200, {"status": "sleeping", "level": 1})
        assert (await running)["choices"][0]["finish_reason"] == "abort"
        assert await engine.get("/is_sleeping") == (200, '{"is_sleeping": true}')
        held = asyncio.create_task(engine.complete("a", max_tokens=1))
        await engine.until("num_requests_waiting", 1)
        assert not held.done()
        await engine.post("/wake_up")
        assert (await held)["choices"][0]["finish_reason"] == "length"
        assert (await engine.post("/sleep?level=9"))[0] == 400


async def test_a_start_takes_as_long_as_it_was_told() -> None:
    """Connections are refused until then, although the socket file is there; a stop ends the start."""
    async with fake_engine("--start-seconds", "60", ready=False) as engine:

        async def bound() -> bool:
            return Path(engine.socket).exists()

        await eventually(bound)
        with pytest.raises(aiohttp.ClientConnectorError):
            await engine.get("/health")
        engine.process.terminate()
        assert await engine.exit_status() == 0


async def test_a_failing_start_says_why() -> None:
    """Exit status and last words are the scripted ones."""
    async with fake_engine("--fail-start", "7", "--fail-start-message", "CUDA out of memory", ready=False) as engine:
        assert await engine.exit_status() == 7
        assert "CUDA out of memory" in engine.log()


async def test_a_stale_socket_stops_the_start() -> None:
    """As it does with vLLM."""
    async with fake_engine() as first:
        process = await asyncio.create_subprocess_exec(
            *("python", "-m", "tritonfleet.fake_engine", "--uds", first.socket),
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        )
        _, log = await process.communicate()
        assert process.returncode == 1
        assert b"Address already in use" in log


async def test_a_crash_comes_in_the_middle_of_a_stream() -> None:
    """After the first token of the request that was named, and never before."""
    async with fake_engine("--crash-after", "2", "--tpot-ms", "1") as engine:
        await engine.complete(PROMPT)
        seen: list[dict[str, Any]] = []

        async def read() -> None:
            async for event in engine.events("/v1/completions", {"prompt": PROMPT}):
                seen.append(event)

        with pytest.raises(aiohttp.ClientError):
            await read()
        assert len(seen) == 1
        assert await engine.exit_status() == 134


async def test_a_share_of_the_requests_fails() -> None:
    """Evenly spread, so that a test knows how many."""
    async with fake_engine("--error-rate", "0.25") as engine:
        statuses = [(await engine.post("/v1/completions", {"prompt": "a"}))[0] for _ in range(8)]
        assert statuses == [200, 200, 200, 500] * 2


async def test_a_hanging_health_check_never_answers() -> None:
    """While requests are still served."""
    async with fake_engine("--hang-health-after", "0.5") as engine:

        async def hangs() -> bool:
            try:
                await asyncio.wait_for(engine.get("/health"), 1)
            except TimeoutError:
                return True
            return False

        await eventually(hangs)
        assert (await engine.complete("a"))["choices"]


async def test_a_sick_health_check_answers_503() -> None:
    """From the scripted moment on."""
    async with fake_engine("--sick-health-after", "0.5") as engine:

        async def sick() -> bool:
            return (await engine.get("/health"))[0] == 503

        await eventually(sick)
        assert await sick()


async def test_sigterm_ends_it_with_its_child() -> None:
    """A polite stop leaves nothing behind, and cuts running requests off."""
    async with fake_engine("--spawn-child", "--tpot-ms", "60000") as engine:
        child = psutil.Process(engine.process.pid).children()[0]
        request = asyncio.create_task(engine.post("/v1/completions", {"prompt": PROMPT}))
        await engine.until("num_requests_running", 1)
        engine.process.terminate()
        assert await engine.exit_status() == 0
        psutil.wait_procs([child], timeout=10)
        assert not child.is_running()
        with pytest.raises(aiohttp.ClientError):
            await request


async def test_a_killed_engine_leaves_its_child_behind() -> None:
    """The child does not mind SIGTERM either: only a kill of the whole group cleans up."""
    async with fake_engine("--spawn-child") as engine:
        child = psutil.Process(engine.process.pid).children()[0]
        try:
            engine.process.kill()
            assert await engine.exit_status() == -signal.SIGKILL
            child.terminate()
            assert psutil.wait_procs([child], timeout=0.2)[1] == [child]
        finally:
            child.kill()


async def test_sigterm_can_be_ignored() -> None:
    """Requests go on; SIGINT still ends it."""
    async with fake_engine("--ignore-sigterm") as engine:
        engine.process.terminate()
        assert (await engine.complete("a"))["choices"]
        assert engine.process.returncode is None
        engine.process.send_signal(signal.SIGINT)
        assert await engine.exit_status() == 0


async def test_it_serves_tcp_too() -> None:
    """For engines without Unix sockets."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tritonfleet.fake_engine", "--port", "18101"), stderr=asyncio.subprocess.PIPE
    )
    try:
        assert process.stderr is not None
        assert b"served on 127.0.0.1:18101" in await asyncio.wait_for(process.stderr.readline(), 30)
        async with aiohttp.ClientSession() as session, session.get("http://127.0.0.1:18101/health") as response:
            assert response.status == 200
    finally:
        process.terminate()
        await process.communicate()
