"""Requests through a real gateway to fake engines: routing, bytes, errors, retries, clients that go away."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.gateway.stage import Stage, eventually
from tritonfleet.gateway import app as application

PROMPT = {"model": "llama2", "prompt": "one two three", "max_tokens": 3}


async def test_the_answer_is_the_engines_own_bytes(stage: Stage) -> None:
    odd = b'{"choices" :[ ],\n"strange":1e5}'

    async def completions(_: web.Request) -> web.Response:
        return web.Response(body=odd, content_type="application/json", headers={"X-Engine": "7"})

    app = web.Application()
    app.router.add_post("/v1/completions", completions)
    await stage.serve(await stage.engine(app=app))
    async with stage.gateway(), stage.session.post("/v1/completions", json=PROMPT) as answer:
        assert await answer.read() == odd
        assert answer.headers["x-engine"] == "7"
        assert answer.headers["content-length"] == str(len(odd))
        assert answer.headers["x-request-id"]


async def test_the_body_reaches_the_engine_unchanged(stage: Stage) -> None:
    replica = await stage.engine()
    await stage.serve(replica)
    raw = b'{"prompt": "caf\\u00e9 \xc3\xa9", "model":"llama2" , "max_tokens": 2, "unknown": {"a": [1, 2.50]}}'
    received: list[bytes] = []

    async def completions(request: web.Request) -> web.Response:
        received.append(await request.read())
        return web.json_response({})

    app = web.Application()
    app.router.add_post("/v1/completions", completions)
    other = await stage.engine(app=app)
    await stage.serve(other)
    async with stage.gateway():
        await stage.post(raw)
    assert received == [raw]


async def test_every_model_and_adapter_is_found_by_its_names(stage: Stage) -> None:
    llama = await stage.engine("llama2", lora_modules=("poet=/p",))
    mistral = await stage.engine("mistral7b")
    await stage.supervisor.set(stage.route(llama, loras=("poet",)), stage.route(mistral, model="mistral7b"))
    async with stage.gateway():
        for asked, answered in (
            ("llama2", "llama2"),
            ("mistral7b", "mistral7b"),
            ("llama2:poet", "poet"),
            ("poet", "poet"),
        ):
            status, body, _ = await stage.post({**PROMPT, "model": asked})
            assert (status, body["model"]) == (200, answered)
        async with stage.session.get("/v1/models") as answer:
            listed = {entry["id"]: entry["parent"] for entry in (await answer.json())["data"]}
        assert listed == {"llama2": None, "llama2:poet": "llama2", "mistral7b": None, "poet": "llama2"}
        async with stage.session.get("/v1/models/llama2:poet") as answer:
            assert (await answer.json())["root"] == "poet"


async def test_an_unknown_model_lists_the_names_nearest_first(stage: Stage) -> None:
    replica = await stage.engine()
    await stage.supervisor.set(stage.route(replica), stage.route(replica, model="alpha"))
    async with stage.gateway():
        status, body, _ = await stage.post({**PROMPT, "model": "lama2"})
    assert status == 404
    assert body["error"]["code"] == "model_not_found"
    assert body["error"]["src"] == "gateway"
    assert "did you mean 'llama2'?" in body["error"]["message"]
    assert "(the fleet has: llama2, alpha)" in body["error"]["message"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "invalid_json"),
        (b"[1]", "invalid_json"),
        (b'{"model": "llama2"', "invalid_json"),
        (b'{"a":' * 100_000, "invalid_json"),
        (b'{"prompt": "x"}', "missing_model"),
        (b'{"model": null}', "missing_model"),
        (b'{"model": 7}', "invalid_type"),
    ],
)
async def test_a_bad_body_is_refused_before_any_engine_sees_it(stage: Stage, body: bytes, code: str) -> None:
    replica = await stage.engine()
    await stage.serve(replica)
    async with stage.gateway():
        status, answer, _ = await stage.post(body)
    assert (status, answer["error"]["code"], answer["error"]["src"]) == (400, code, "gateway")
    assert replica.bodies == []


async def test_an_engines_error_says_so_and_keeps_its_words(stage: Stage) -> None:
    await stage.serve(await stage.engine())
    async with stage.gateway():
        status, body, _ = await stage.post({**PROMPT, "max_tokens": 100_000})
    assert status == 400
    assert body["error"]["src"] == "engine"
    assert "maximum context length is 4096" in body["error"]["message"]
    assert body["error"]["type"] == "BadRequestError"


async def test_what_an_engine_does_not_have_is_501(stage: Stage) -> None:
    await stage.serve(await stage.engine())
    async with stage.gateway():
        status, body, _ = await stage.post({"model": "llama2", "messages": [], "max_tokens": 1}, "/v1/messages")
        assert (status, body["error"]["src"]) == (501, "engine")
        assert body["error"]["message"] == "the fake engine of 'llama2' has no /v1/messages"
        async with stage.session.get("/v1/responses/resp_1") as answer:
            assert answer.status == 501
        async with stage.session.get("/v1/completions") as answer:
            assert answer.status == 405
            assert answer.headers["allow"] == "POST"
        status, body, _ = await stage.post({}, "/v1/chat/completion")
        assert status == 404
        assert "did you mean /v1/chat/completions?" in body["error"]["message"]


async def test_streams_arrive_piece_by_piece(stage: Stage) -> None:
    replica = await stage.engine(tpot_ms=30)
    await stage.serve(replica)
    async with stage.gateway(), stage.session.post("/v1/completions", json={**PROMPT, "stream": True}) as answer:
        assert answer.content_type == "text/event-stream"
        first = await answer.content.readany()
        assert replica.running == 1, "the first piece came before the answer was complete"
        text = (first + await answer.read()).decode()
    events = [line.removeprefix("data: ") for line in text.splitlines() if line]
    assert events[-1] == "[DONE]"
    assert "".join(json.loads(event)["choices"][0]["text"] for event in events[:-1]) == "one two three"


@pytest.mark.parametrize("streams", [True, False])
async def test_a_client_that_goes_away_aborts_its_request_in_the_engine(stage: Stage, streams: bool) -> None:
    replica = await stage.engine(tpot_ms=50)
    await stage.serve(replica)
    async with stage.gateway():
        body = {**PROMPT, "max_tokens": 1000, "ignore_eos": True, "stream": streams}
        asking = asyncio.create_task(stage.post(body))
        await eventually(lambda: replica.running == 1)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await eventually(lambda: replica.running == 0)
        assert replica.finished == {"abort": 1}
        await stage.until_metric('tritonfleet_gateway_client_gone_total{model="llama2"}', 1)
        assert await stage.metric('tritonfleet_gateway_requests_in_flight{model="llama2"}') == 0


async def test_another_replica_answers_when_the_first_takes_no_connection(stage: Stage) -> None:
    gone, well = await stage.engine(), await stage.engine()
    await stage.serve(gone, well)
    async with stage.gateway():
        await gone.close()
        for number in range(8):
            status, _, _ = await stage.post({**PROMPT, "prompt": f"conversation {number}"})
            assert status == 200
    assert len(well.bodies) == 8


def breaks_off(after: bytes | None) -> web.Application:
    """An engine that closes the connection; after some bytes of a stream, or before any answer."""

    async def completions(request: web.Request) -> web.StreamResponse:
        await request.read()
        assert request.transport is not None
        if after is not None:
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await response.prepare(request)
            await response.write(after)
            await asyncio.sleep(0.05)  # two packets
        request.transport.close()
        return web.Response()

    app = web.Application()
    app.router.add_post("/v1/completions", completions)
    return app


async def test_a_request_is_sent_again_while_nothing_was_sent_to_the_client(stage: Stage) -> None:
    bad = await stage.engine(app=breaks_off(None))
    well = await stage.engine()
    await stage.serve(bad, well)
    async with stage.gateway():
        for number in range(8):
            status, _, _ = await stage.post({**PROMPT, "prompt": f"conversation {number}"})
            assert status == 200
        tried = len(bad.bodies)
        assert await stage.metric('tritonfleet_gateway_retries_total{model="llama2"}') == tried > 0


async def test_a_request_that_kills_engines_gets_two_of_them_at_most(stage: Stage) -> None:
    bad = [await stage.engine(app=breaks_off(None)) for _ in range(4)]
    await stage.serve(*bad)
    async with stage.gateway():
        status, body, headers = await stage.post(PROMPT)
    assert (status, body["error"]["src"]) == (503, "engine")
    assert "broke off" in body["error"]["message"]
    assert headers["retry-after"] == "2"
    assert sum(len(replica.bodies) for replica in bad) == 2


async def test_a_stream_that_breaks_off_ends_with_an_error_event(stage: Stage) -> None:
    well = await stage.engine()
    bad = await stage.engine(app=breaks_off(b'data: {"choices":[]}\n\n'))
    await stage.serve(bad)
    async with stage.gateway():
        status, text, _ = await stage.post({**PROMPT, "stream": True})
    assert status == 200
    last = text.strip().splitlines()[-1]
    error = json.loads(last.removeprefix("data: "))["error"]
    assert error["src"] == "engine"
    assert "broke off" in error["message"]
    assert well.bodies == [], "something was sent already"


async def test_a_stream_that_breaks_off_within_an_event_is_broken_off(stage: Stage) -> None:
    await stage.serve(await stage.engine(app=breaks_off(b'data: {"choi')))
    async with stage.gateway():
        with pytest.raises(aiohttp.ClientPayloadError):
            await stage.post({**PROMPT, "stream": True})


async def test_a_model_without_a_ready_engine_says_why(stage: Stage) -> None:
    replica = await stage.engine()
    await stage.supervisor.set(
        stage.route(replica),
        stage.route(model="big", state="failed", reason="out of memory; its last words (/logs/big-0.log):\nlong log"),
        stage.route(model="slow", state="starting"),
    )
    async with stage.gateway():
        status, body, headers = await stage.post({**PROMPT, "model": "big"})
        assert (status, body["error"]["src"]) == (503, "engine")
        assert body["error"]["message"] == "the model 'big' is failed: out of memory; see `tritonfleet logs`"
        assert "retry-after" not in headers
        status, _, headers = await stage.post({**PROMPT, "model": "slow"})
        assert (status, headers["retry-after"]) == (503, "5")
        async with stage.session.get("/v1/models") as answer:
            assert [entry["id"] for entry in (await answer.json())["data"]] == ["llama2"]


async def test_health_follows_the_routes(stage: Stage) -> None:
    replica = await stage.engine()
    await stage.supervisor.set(stage.route(model="llama2", state="starting"))
    async with stage.gateway():
        async with stage.session.get("/health") as answer:
            assert answer.status == 503
        async with stage.session.get("/health/live") as answer:
            assert answer.status == 200
        await stage.supervisor.set(replace(stage.route(replica, model="llama2"), in_triton=False))
        await stage.until_known()
        async with stage.session.get("/health/ready") as answer:
            assert answer.status == 503  # the KServe door would still refuse its requests
        await stage.serve(replica)
        await stage.until_known()
        async with stage.session.get("/health/ready") as answer:
            assert (answer.status, await answer.json()) == (200, {"status": "ready", "models": {"llama2": "ready"}})


async def test_the_routes_outlive_the_supervisor_and_follow_its_successor(stage: Stage) -> None:
    one, two = await stage.engine(), await stage.engine("other")
    await stage.serve(one)
    async with stage.gateway():
        await stage.supervisor.close()
        assert (await stage.post(PROMPT))[0] == 200
        stage.supervisor.revision = 0  # a new supervisor counts from the start
        stage.supervisor.routes = [stage.route(two, model="other")]
        await stage.supervisor.start()
        await stage.until_known()
        assert (await stage.post({**PROMPT, "model": "other"}))[0] == 200


async def test_before_the_supervisors_first_word_nothing_is_unknown(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(application, "FIRST_ROUTES_SECONDS", 0.05)
    await stage.serve(await stage.engine())
    await stage.supervisor.close()
    async with stage.gateway(known=False):
        status, body, headers = await stage.post(PROMPT)
        assert (status, body["error"]["code"], headers["retry-after"]) == (503, "not_ready", "1")
        await stage.supervisor.start()
        await stage.until_known()
        assert (await stage.post(PROMPT))[0] == 200


async def test_headers_pass_but_for_those_between_client_and_gateway(stage: Stage) -> None:
    replica = await stage.engine()
    await stage.serve(replica)
    sent = {"Authorization": "Bearer x", "X-Api-Key": "y", "X-Request-Id": "mine", "traceparent": "00-1", "Cookie": "c"}
    async with stage.gateway():
        _, _, headers = await stage.post(PROMPT, headers=sent)
    assert len(replica.headers) == 1
    seen = replica.headers[0]
    assert headers["x-request-id"] == seen["x-request-id"] == "mine"
    assert seen["traceparent"] == "00-1"
    assert seen.keys().isdisjoint({"authorization", "x-api-key", "cookie"})


async def test_tokenize_and_detokenize(stage: Stage) -> None:
    await stage.serve(await stage.engine())
    async with stage.gateway():
        _, body, _ = await stage.post({"model": "llama2", "prompt": "one two"}, "/tokenize")
        assert body["count"] == 2
        _, body, _ = await stage.post({"model": "llama2", "tokens": body["tokens"]}, "/detokenize")
        assert body["prompt"] == "one two"


async def test_a_conversation_stays_with_one_replica(stage: Stage) -> None:
    replicas = [await stage.engine() for _ in range(4)]
    await stage.serve(*replicas)
    async with stage.gateway():
        for number in range(8):
            messages = [{"role": "user", "content": f"question {number}"}]
            for turn in range(3):
                body = {"model": "llama2", "messages": messages, "max_tokens": 2}
                assert (await stage.post(body, "/v1/chat/completions"))[0] == 200
                messages += [{"role": "assistant", "content": "yes"}, {"role": "user", "content": f"more {turn}"}]
    homes: dict[str, set[int]] = {}
    for number, replica in enumerate(replicas):
        for body in replica.bodies:
            homes.setdefault(body["messages"][0]["content"], set()).add(number)
    assert len(homes) == 8
    assert all(len(home) == 1 for home in homes.values()), homes
    assert len(set.union(*homes.values())) > 1


async def test_the_query_reaches_the_engine_as_it_is(stage: Stage) -> None:
    seen: list[str] = []

    async def messages(request: web.Request) -> web.Response:
        seen.append(request.raw_path)
        return web.json_response({})

    app = web.Application()
    app.router.add_post("/v1/messages", messages)
    await stage.serve(await stage.engine(app=app))
    async with stage.gateway():
        assert (await stage.post({"model": "llama2"}, "/v1/messages?beta=true&x=a+b"))[0] == 200
    assert seen == ["/v1/messages?beta=true&x=a+b"]


async def test_a_large_body_passes_whole(stage: Stage) -> None:
    replica = await stage.engine()
    await stage.serve(replica)
    image = "x" * (3 << 20)
    body: dict[str, Any] = {
        "messages": [{"role": "user", "content": [{"type": "text", "text": "a b"}]}],
        "extra": image,
        "model": "llama2",
    }
    async with stage.gateway():
        status, _, _ = await stage.post(body, "/v1/chat/completions")
    assert status == 200
    assert replica.bodies[0]["extra"] == image
