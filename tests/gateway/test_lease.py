"""The gateway in front of a model that shares its device."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest

from tests.desk import ScriptedGroup
from tests.gateway.stage import Stage
from tritonfleet.gateway.lease import patience

SHARED: dict[str, Any] = {"lease": "generate", "hold_seconds": 30.0}
BODY = {"model": "llama2", "prompt": "a b", "max_tokens": 2}


@pytest.fixture
async def group(stage: Stage) -> ScriptedGroup:
    """What the stage's supervisor asks for leases."""
    return stage.supervisor.group


async def test_a_model_of_its_own_device_costs_no_round_trip(stage: Stage, group: ScriptedGroup) -> None:
    await stage.serve(await stage.engine())
    async with stage.gateway():
        assert (await stage.post(BODY))[0] == 200
    assert (group.asked, group.connections) == ([], 0)


async def test_a_request_holds_a_lease_while_it_is_at_the_engine(stage: Stage, group: ScriptedGroup) -> None:
    await stage.serve(await stage.engine(tpot_ms=50), **SHARED)
    async with stage.gateway():
        request = asyncio.create_task(stage.post({**BODY, "max_tokens": 10, "ignore_eos": True}))
        await group.until(lambda: len(group.out) == 1)
        assert not request.done()
        assert (await request)[0] == 200
        await group.until(lambda: not group.out)
    assert group.asked == [("llama2", 30.0)]


async def test_a_held_request_is_answered_when_its_model_wakes(stage: Stage, group: ScriptedGroup) -> None:
    engine = await stage.engine()
    await stage.serve(engine, **SHARED)
    group.answer = lambda lease, holder: None
    async with stage.gateway():
        request = asyncio.create_task(stage.post(BODY))
        await group.until(lambda: len(group.out) == 1)
        assert not sum(engine.finished.values())
        ((lease, holder),) = group.out.items()
        holder.granted(lease)
        assert (await request)[0] == 200


async def test_no_lease_is_a_503_that_says_when_to_come_back(stage: Stage, group: ScriptedGroup) -> None:
    await stage.serve(await stage.engine(), **SHARED)
    group.answer = lambda lease, holder: holder.refused(lease, "llama2 did not get the device within 5.0 s", 2.0)
    async with stage.gateway():
        status, body, headers = await stage.post(BODY, headers={"X-Request-Timeout": "6"})
    assert (status, body["error"]["code"], headers["retry-after"]) == (503, "model_not_awake", "2")
    assert "did not get the device" in body["error"]["message"]
    assert group.asked == [("llama2", 5.0)]


async def test_who_goes_away_leaves_the_line(stage: Stage, group: ScriptedGroup) -> None:
    await stage.serve(await stage.engine(), **SHARED)
    group.answer = lambda lease, holder: None
    async with stage.gateway():
        request = asyncio.create_task(stage.post(BODY))
        await group.until(lambda: len(group.out) == 1)
        request.cancel()
        await group.until(lambda: not group.out)


async def test_a_request_whose_device_is_taken_away_ends(stage: Stage, group: ScriptedGroup) -> None:
    engine = await stage.engine(tpot_ms=50)
    await stage.serve(engine, **SHARED)
    async with stage.gateway():
        request = asyncio.create_task(stage.post({**BODY, "max_tokens": 500, "ignore_eos": True}))
        await group.until(lambda: len(group.out) == 1)
        ((lease, holder),) = group.out.items()
        holder.revoked(lease, "another model needs the device")
        status, body, _ = await request
        assert (status, body["error"]["code"]) == (503, "device_taken")
        await group.until(lambda: not group.out)


async def test_counting_tokens_needs_no_awake_model(stage: Stage, group: ScriptedGroup) -> None:
    """A sleeping engine can do that; one that stopped cannot."""
    await stage.serve(await stage.engine(), **SHARED)
    async with stage.gateway():
        assert (await stage.post({"model": "llama2", "prompt": "a b"}, "/tokenize"))[0] == 200
        assert group.asked == []
        await stage.serve(await stage.engine("other"), model="other", lease="all", hold_seconds=30.0)
        await stage.until_known()
        assert (await stage.post({"model": "other", "prompt": "a b"}, "/tokenize"))[0] == 200
        assert group.asked == [("other", 30.0)]


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ([], math.inf),
        ([(b"x-request-timeout", b"10")], 9.0),
        ([(b"x-request-timeout", b"0.5")], 0.25),
        ([(b"x-stainless-read-timeout", b"600.0")], 599.0),
        ([(b"x-request-timeout", b"soon"), (b"x-stainless-read-timeout", b"3")], 2.0),
        ([(b"x-request-timeout", b"nan")], math.inf),
        ([(b"x-request-timeout", b"-1")], math.inf),
    ],
)
def test_how_long_a_client_waits(headers: list[tuple[bytes, bytes]], seconds: float) -> None:
    assert patience(headers) == seconds
