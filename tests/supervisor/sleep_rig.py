"""A share group with real engine processes: the shipped fake engine in tests, real ones in scripts/gpu."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tritonfleet.engines import Launch, Runtime, adapter
from tritonfleet.engines.base import Call, Command
from tritonfleet.errors import EngineFailed
from tritonfleet.planner.result import GroupPlan, MemberPlan, SleepLevel
from tritonfleet.spec.models import Lifecycle, ModelSpec
from tritonfleet.spec.sharing import ShareSpec
from tritonfleet.supervisor.device_memory import DeviceMemory, NoDeviceMemory
from tritonfleet.supervisor.engine import Engine
from tritonfleet.supervisor.process import Spawner
from tritonfleet.supervisor.seats import Phase
from tritonfleet.supervisor.share import ShareGroup
from tritonfleet.supervisor.sleeper import Sleeper, sleeping_of
from tritonfleet.wire import Endpoint


@dataclass(frozen=True)
class Setup:
    """What the group is made of."""

    folder: Path
    """For sockets and logs; a short path."""
    models: tuple[ModelSpec, ...]
    paths: Mapping[str, Path]
    runtime: Runtime
    lifecycle: Lifecycle
    sharing: ShareSpec
    level: SleepLevel = 1
    gpus: tuple[int, ...] = ()
    need_bytes: int = 1
    """What must come back on each GPU."""
    memory_share: float | None = None


class Holder:
    """Waits for the answer to one lease."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def granted(self, lease: str) -> None:
        """The lease may be used."""
        self.answer.set_result(None)

    def refused(self, lease: str, reason: str, retry_after_seconds: float) -> None:
        """There is none."""
        assert retry_after_seconds > 0
        self.answer.set_exception(EngineFailed(reason))

    def revoked(self, lease: str, reason: str) -> None:
        """The request must end."""
        self.ended.set_result(reason)


@dataclass
class Rig:
    """A running group."""

    group: ShareGroup
    engines: dict[str, Engine]
    numbers: itertools.count[int] = field(default_factory=itertools.count)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def start(self) -> None:
        """Start all engines, one after the other; each but the last sleeps."""
        for engine in self.engines.values():
            engine.want()
        await self.until(lambda: all(self.group.serves(name) for name in self.engines))

    @asynccontextmanager
    async def lease(self, model: str, seconds: float = 60.0) -> AsyncIterator[Holder]:
        """Hold *model* awake; raise EngineFailed with the group's reason if it gives no lease."""
        name, holder = f"r{next(self.numbers)}", Holder()
        self.group.ask(name, model, seconds, holder)
        try:
            await holder.answer
            yield holder
        finally:
            self.group.give_back(name)

    async def ask(self, model: str, tokens: int = 4, seconds: float = 60.0) -> str:
        """Send a request as the doors do, and return the answer's text."""
        async with self.lease(model, seconds):
            return await self.complete(model, tokens)

    async def complete(self, model: str, tokens: int = 4, seconds: float = 120.0) -> str:
        """Send a request straight to the engine."""
        body = {"model": model, "prompt": "one two three four", "max_tokens": tokens, "ignore_eos": True}
        call = Call("POST", "/v1/completions", json.dumps({**body, "temperature": 0}))
        status, text = await self.engines[model].http.send(call, seconds)
        assert status == 200, text
        return str(json.loads(text)["choices"][0]["text"])

    def phases(self) -> dict[str, str]:
        """Return where everybody is."""
        return {member.model: member.phase for member in self.group.status().members}

    async def until(self, reached: Callable[[], bool], seconds: float = 300.0) -> None:
        """Wait until *reached* holds."""
        async with asyncio.timeout(seconds):
            while not reached():
                self.changed.clear()
                await self.changed.wait()

    async def awake(self, model: str) -> None:
        """Wait until *model* is awake."""
        await self.until(lambda: self.group.phase(model) is Phase.AWAKE)


@asynccontextmanager
async def share_rig(setup: Setup, memory_of: Callable[[Mapping[str, Engine]], DeviceMemory]) -> AsyncIterator[Rig]:
    """Make the group of *setup* and end it; nothing is started yet."""
    spawner = Spawner(f"mark-{setup.folder.name}", dict(os.environ))
    changed = asyncio.Event()
    members = [MemberPlan(model.name, setup.need_bytes, False, setup.level, 0.0, 0.0) for model in setup.models]
    plan = GroupPlan("g", setup.gpus, setup.need_bytes, tuple(members))
    group = ShareGroup(plan, setup.sharing, {model.name: model for model in setup.models}, changed.set)
    engines: dict[str, Engine] = {}
    memory = memory_of(engines)
    for model in setup.models:
        engines[model.name] = engine = _engine(model, setup, group, spawner, changed.set)
        member = next(entry for entry in members if entry.model == model.name)
        sleeping = sleeping_of(setup.level, setup.gpus, member, setup.sharing.switch_seconds)
        group.join(model.name, engine, Sleeper(engine, adapter(model.engine), sleeping, memory))
    try:
        yield Rig(group, engines, changed=changed)
    finally:
        await group.close()
        await asyncio.gather(*(engine.close() for engine in engines.values()))
        spawner.close()


def _engine(model: ModelSpec, setup: Setup, group: ShareGroup, spawner: Spawner, changed: Callable[[], None]) -> Engine:
    how = adapter(model.engine)
    endpoint = Endpoint(uds=str(setup.folder / f"{model.name}.sock"))

    async def command() -> Command:
        return how.command(
            Launch(
                model,
                setup.paths[model.name],
                {},
                endpoint,
                setup.runtime,
                setup.gpus,
                memory_share=setup.memory_share,
                sleeps=setup.level != "stop",
            )
        )

    return Engine(
        model.name,
        health=how.health,
        endpoint=endpoint,
        command=command,
        log_path=setup.folder / f"{model.name}.log",
        lifecycle=setup.lifecycle,
        spawner=spawner,
        changed=changed,
        turnstile=group.turnstile(model.name),
    )


class FileMemory:
    """A device of 100 bytes whose users write what they hold into files; who is dead holds nothing."""

    def __init__(self, engines: Mapping[str, Engine], folder: Path) -> None:
        self._engines = engines
        self._folder = folder

    async def free_bytes(self, gpus: Sequence[int]) -> tuple[int, ...] | None:
        """Return what is free of the device, for each of *gpus*."""
        held = sum(
            int((self._folder / f"{name}.memory").read_text())
            for name, engine in self._engines.items()
            if engine.pid is not None
        )
        return tuple(100 - held for _ in gpus)


def no_memory(engines: Mapping[str, Engine]) -> DeviceMemory:
    """Return what reads nothing, for engines on the CPU."""
    return NoDeviceMemory()
