"""A lease desk over a scripted share group, for tests of whoever holds leases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

from aiohttp import web

from tritonfleet.leases import PATH
from tritonfleet.supervisor.lease_book import Holder
from tritonfleet.supervisor.lease_desk import LeaseDesk
from tritonfleet.supervisor.share import ShareGroup


class ScriptedGroup:
    """Answers as the test says, and records what was asked."""

    def __init__(self) -> None:
        self.answer: Callable[[str, Holder], None] = lambda lease, holder: holder.granted(lease)
        self.asked: list[tuple[str, float]] = []
        self.out: dict[str, Holder] = {}
        """Leases that are out or waited for."""
        self.connections = 0
        self.changed = asyncio.Event()

    def ask(self, lease: str, model: str, seconds: float, holder: Holder) -> None:
        """Record and answer."""
        self.asked.append((model, seconds))
        self.out[lease] = holder
        self.answer(lease, holder)
        self.changed.set()

    def give_back(self, lease: str) -> None:
        """Record."""
        self.out.pop(lease, None)
        self.changed.set()

    async def until(self, reached: Callable[[], bool]) -> None:
        """Wait until *reached* holds."""
        async with asyncio.timeout(10):
            while not reached():
                self.changed.clear()
                await self.changed.wait()

    def add_to(self, app: web.Application) -> LeaseDesk:
        """Serve leases in *app*."""
        desk = LeaseDesk(lambda model: cast("ShareGroup", self) if model != "nobody" else None)

        async def serve(request: web.Request) -> Any:
            self.connections += 1
            return await desk.serve(request)

        app.router.add_get(PATH, serve)
        return desk


@asynccontextmanager
async def desk_at(socket: Path, group: ScriptedGroup) -> AsyncIterator[LeaseDesk]:
    """Serve *group*'s leases on a Unix socket."""
    app = web.Application()
    desk = group.add_to(app)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.UnixSite(runner, str(socket)).start()
    try:
        yield desk
    finally:
        await desk.close()
        await runner.cleanup()
        socket.unlink(missing_ok=True)
