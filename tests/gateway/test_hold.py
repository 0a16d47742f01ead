"""Requests for a model that has no replica yet: held for a while where the fleet says so, and counted meanwhile."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.gateway.stage import Stage

PROMPT: dict[str, Any] = {"model": "llama2", "prompt": "one two three", "max_tokens": 3}
WAITING = 'tritonfleet_gateway_requests_waiting{model="llama2"}'


async def test_a_held_request_is_answered_by_the_first_replica(stage: Stage) -> None:
    await stage.serve(state="starting")
    async with stage.gateway(hold_seconds=30):
        requests = [asyncio.create_task(stage.post(PROMPT)) for _ in range(3)]
        await stage.until_metric(WAITING, 3)
        await stage.serve(await stage.engine())
        assert [status for status, _, _ in await asyncio.gather(*requests)] == [200, 200, 200]
        await stage.until_metric(WAITING, 0)


async def test_a_hold_ends_with_the_reason(stage: Stage) -> None:
    await stage.serve(state="starting", reason="none of its pods is ready")
    async with stage.gateway(hold_seconds=0.2):
        status, body, headers = await stage.post(PROMPT)
    assert (status, body["error"]["code"]) == (503, "model_not_ready")
    assert "none of its pods is ready" in body["error"]["message"]
    assert headers["retry-after"] == "5"


async def test_without_a_hold_the_answer_comes_at_once(stage: Stage) -> None:
    await stage.serve(state="starting")
    async with stage.gateway():
        assert (await stage.post(PROMPT))[0] == 503
        assert await stage.metric(WAITING) == 0


@pytest.mark.parametrize("state", ["failed", "stopped"])
async def test_what_will_not_come_is_not_waited_for(stage: Stage, state: str) -> None:
    await stage.serve(state=state)
    async with stage.gateway(hold_seconds=30):
        async with asyncio.timeout(5):
            assert (await stage.post(PROMPT))[0] == 503


async def test_a_client_that_leaves_is_not_counted_any_more(stage: Stage) -> None:
    await stage.serve(state="starting")
    async with stage.gateway(hold_seconds=30):
        request = asyncio.create_task(stage.post(PROMPT))
        await stage.until_metric(WAITING, 1)
        request.cancel()
        await stage.until_metric(WAITING, 0)


async def test_no_more_are_held_than_may_wait(stage: Stage) -> None:
    await stage.serve(state="starting")
    async with stage.gateway(hold_seconds=30, max_waiting=1):
        held = asyncio.create_task(stage.post(PROMPT))
        await stage.until_metric(WAITING, 1)
        assert (await stage.post(PROMPT))[0] == 503
        await stage.serve(await stage.engine())
        assert (await held)[0] == 200


async def test_a_model_that_goes_is_waited_for_again(stage: Stage) -> None:
    replica = await stage.engine()
    await stage.serve(replica)
    async with stage.gateway(hold_seconds=30):
        assert (await stage.post(PROMPT))[0] == 200
        await stage.serve(state="starting")
        await stage.until_known()
        request = asyncio.create_task(stage.post(PROMPT))
        await stage.until_metric(WAITING, 1)
        await stage.serve(replica)
        assert (await request)[0] == 200


async def test_what_costs_nothing_is_not_held(stage: Stage) -> None:
    await stage.serve(state="starting")
    async with stage.gateway(hold_seconds=30):
        assert (await stage.post({"model": "llama2", "prompt": "x"}, "/tokenize"))[0] == 503
