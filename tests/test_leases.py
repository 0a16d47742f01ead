"""Leases over the real desk: nothing is lost, whoever dies or gives up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.desk import ScriptedGroup, desk_at
from tritonfleet.leases import PATH, Leases, NoLease


@pytest.fixture
async def leases(tmp_path: Path) -> AsyncIterator[Leases]:
    """A client; its supervisor is started by the test."""
    client = Leases(str(tmp_path / "c.sock"))
    yield client
    await client.close()


def ignore(reason: str) -> None:
    """End nothing."""


async def test_a_lease_is_out_while_the_block_runs(tmp_path: Path, leases: Leases) -> None:
    group = ScriptedGroup()
    async with desk_at(tmp_path / "c.sock", group):
        async with leases.hold("a", 7.0, ignore):
            assert group.asked == [("a", 7.0)]
            assert len(group.out) == 1
        await group.until(lambda: not group.out)


async def test_one_connection_carries_all(tmp_path: Path, leases: Leases) -> None:
    group = ScriptedGroup()

    async def hold() -> None:
        async with leases.hold("a", 7.0, ignore):
            await asyncio.sleep(0)

    async with desk_at(tmp_path / "c.sock", group):
        await asyncio.gather(*(hold() for _ in range(100)))
        await group.until(lambda: not group.out)
        assert (len(group.asked), group.connections) == (100, 1)


async def test_a_refusal_comes_with_its_words_and_when_to_try_again(tmp_path: Path, leases: Leases) -> None:
    group = ScriptedGroup()
    group.answer = lambda lease, holder: holder.refused(lease, "not now", 3.0)
    async with desk_at(tmp_path / "c.sock", group):
        with pytest.raises(NoLease, match="not now") as caught:
            async with leases.hold("a", 7.0, ignore):
                raise AssertionError("there is no lease")
        assert caught.value.retry_after_seconds == 3.0


async def test_who_gives_up_leaves_the_line(tmp_path: Path, leases: Leases) -> None:
    group = ScriptedGroup()
    group.answer = lambda lease, holder: None

    async def hold() -> None:
        async with leases.hold("a", 7.0, ignore):
            raise AssertionError("there is no lease")

    async with desk_at(tmp_path / "c.sock", group):
        waiting = asyncio.create_task(hold())
        await group.until(lambda: bool(group.out))
        waiting.cancel()
        await group.until(lambda: not group.out)


async def test_a_revoked_lease_ends_its_request(tmp_path: Path, leases: Leases) -> None:
    group = ScriptedGroup()
    reasons: asyncio.Queue[str] = asyncio.Queue()
    async with desk_at(tmp_path / "c.sock", group), leases.hold("a", 7.0, reasons.put_nowait):
        ((lease, holder),) = group.out.items()
        holder.revoked(lease, "others need it")
        assert await asyncio.wait_for(reasons.get(), 10) == "others need it"


async def test_a_holder_that_dies_gives_everything_back(tmp_path: Path) -> None:
    """Its connection ends with it; one that waits leaves the line in the same way."""
    group = ScriptedGroup()
    dead = Leases(str(tmp_path / "c.sock"))

    async def hold() -> None:
        async with dead.hold("a", 7.0, ignore):
            await asyncio.Event().wait()

    async with desk_at(tmp_path / "c.sock", group):
        holding = asyncio.create_task(hold())
        await group.until(lambda: len(group.out) == 1)
        group.answer = lambda lease, holder: None
        waiting = asyncio.create_task(hold())
        await group.until(lambda: len(group.out) == 2)
        await dead.close()
        await group.until(lambda: not group.out)
        for task in (holding, waiting):
            task.cancel()
        await asyncio.gather(holding, waiting, return_exceptions=True)


async def test_without_its_supervisor_no_request_goes_on(tmp_path: Path, leases: Leases) -> None:
    """The supervisor counts the leases as given back; when it is there again, so are leases."""
    group = ScriptedGroup()
    reasons: asyncio.Queue[str] = asyncio.Queue()
    async with desk_at(tmp_path / "c.sock", group) as desk, leases.hold("a", 7.0, reasons.put_nowait):
        group.answer = lambda lease, holder: None
        held = asyncio.create_task(_hold(leases))
        await group.until(lambda: len(group.asked) == 2)
        await desk.close()
        assert "was lost" in await asyncio.wait_for(reasons.get(), 10)
        with pytest.raises(NoLease, match="was lost"):
            await held
    with pytest.raises(NoLease, match="does not answer at"):
        await _hold(leases)
    group.answer = lambda lease, holder: holder.granted(lease)
    async with desk_at(tmp_path / "c.sock", group):
        await _hold(leases)


async def test_a_model_that_takes_no_turns_is_refused(tmp_path: Path, leases: Leases) -> None:
    async with desk_at(tmp_path / "c.sock", ScriptedGroup()):
        with pytest.raises(NoLease, match="'nobody' is no model that takes turns"):
            async with leases.hold("nobody", 7.0, ignore):
                raise AssertionError("there is no lease")


@pytest.mark.parametrize("text", ["{", "[]", '{"take": "x"}', '{"give": null}'])
async def test_what_cannot_be_understood_ends_the_connection(tmp_path: Path, text: str) -> None:
    """And with it every lease of that holder, rather than one that is never given back."""
    group = ScriptedGroup()
    connector = aiohttp.UnixConnector(str(tmp_path / "c.sock"))
    async with (
        desk_at(tmp_path / "c.sock", group),
        aiohttp.ClientSession(connector=connector) as session,
        session.ws_connect(f"http://supervisor{PATH}") as socket,
    ):
        await socket.send_str('{"take": 1, "model": "a", "seconds": 5}')
        await group.until(lambda: len(group.out) == 1)
        await socket.send_str(text)
        await group.until(lambda: not group.out)


async def _hold(leases: Leases) -> None:
    async with leases.hold("a", 7.0, ignore):
        pass
