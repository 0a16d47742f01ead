"""The bridge in front of a model that shares its device."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.bridge.fakes import Field, RecordingResponder, field
from tests.desk import ScriptedGroup, desk_at
from tritonfleet.bridge.failure import Code
from tritonfleet.bridge.generation import Generation
from tritonfleet.bridge.lease import DeviceTurns
from tritonfleet.fake_engine.engine import Engine
from tritonfleet.fake_engine.options import Options
from tritonfleet.fake_engine.server import Server

REQUEST = Generation("a b c", sampling={"max_tokens": 3})


@asynccontextmanager
async def shared(
    group: ScriptedGroup, *, settings: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[Field]:
    """Yield a field whose model takes its turns from *group*."""
    with tempfile.TemporaryDirectory(prefix="tfb-") as name:
        folder = Path(name)
        app = Server(Engine(Options(model="m", **options))).application()
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
        await runner.setup()
        await web.UnixSite(runner, str(folder / "e.sock")).start()
        try:
            async with desk_at(folder / "c.sock", group), field(folder / "e.sock", **(settings or {})) as ground:
                route = replace(ground.route, lease="generate", hold_seconds=20.0)
                devices = DeviceTurns(route, str(folder / "c.sock"))
                ground.lane = replace(ground.lane, devices=devices)
                yield ground
                await devices.close()
        finally:
            await runner.cleanup()


async def test_a_request_holds_a_lease_until_its_answer_is_read() -> None:
    """One that waits is answered when its model wakes."""
    group = ScriptedGroup()
    group.answer = lambda lease, holder: None
    async with shared(group) as ground:
        responder = RecordingResponder()
        flight = ground.launch(REQUEST, responder)
        await group.until(lambda: len(group.out) == 1)
        ((lease, holder),) = group.out.items()
        holder.granted(lease)
        await ground.landing(flight)
        assert responder.text
        await group.until(lambda: not group.out)
    assert group.asked == [("m", 20.0)]


async def test_no_lease_is_unavailable_with_the_reason() -> None:
    """And when to try again, in words: Triton has no header for it."""
    group = ScriptedGroup()
    group.answer = lambda lease, holder: holder.refused(lease, "m did not get the device within 1.0 s", 2.0)
    async with shared(group) as ground:
        responder = await ground.fly(REQUEST)
    assert responder.error is not None
    assert responder.error.code is Code.UNAVAILABLE
    assert str(responder.error) == "m did not get the device within 1.0 s; try again in 2 s"


async def test_a_requests_own_timeout_holds_for_the_wait() -> None:
    """Whichever of the two clocks is first, the client is told in time."""
    group = ScriptedGroup()
    group.answer = lambda lease, holder: None
    async with shared(group) as ground:
        responder = await ground.fly(replace(REQUEST, timeout_seconds=0.2))
        await group.until(lambda: not group.out)
    assert group.asked == [("m", 0.2)]
    assert responder.error is not None
    assert responder.error.code is Code.UNAVAILABLE
    assert "the model did not get its device within 0.2 s" in str(responder.error)


async def test_a_cancelled_request_leaves_the_line() -> None:
    """As one that was never there."""
    group = ScriptedGroup()
    group.answer = lambda lease, holder: None
    async with shared(group) as ground:
        responder = RecordingResponder()
        flight = ground.launch(REQUEST, responder)
        await group.until(lambda: len(group.out) == 1)
        flight.cancel()
        await ground.landing(flight)
        await group.until(lambda: not group.out)
    assert responder.error is not None
    assert responder.error.code is Code.CANCELLED


async def test_a_request_whose_device_is_taken_away_ends_as_unavailable() -> None:
    """The client did not cancel it, and may send it again."""
    group = ScriptedGroup()
    async with shared(group, tpot_ms=20, answer_tokens=1000) as ground:
        responder = RecordingResponder()
        flight = ground.launch(replace(REQUEST, sampling={"max_tokens": 1000}), responder)
        await group.until(lambda: len(group.out) == 1)
        await asyncio.sleep(0.05)  # some way into the answer
        ((lease, holder),) = group.out.items()
        holder.revoked(lease, "another model needs the device")
        await ground.landing(flight)
        await group.until(lambda: not group.out)
    assert responder.error is not None
    assert responder.error.code is Code.UNAVAILABLE
    assert "another model needs the device; send it again" in str(responder.error)
