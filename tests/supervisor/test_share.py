"""A share group over scripted engines: what is ordered, what is told to whom, and when."""

from __future__ import annotations

import asyncio
import json
from typing import Any, cast

import pytest
from rich.console import Console

from tritonfleet.console import fleet_view
from tritonfleet.errors import EngineFailed, UsageError
from tritonfleet.planner.result import GroupPlan, MemberPlan
from tritonfleet.spec.models import ModelSpec
from tritonfleet.spec.sharing import ShareSpec
from tritonfleet.supervisor.engine import Engine
from tritonfleet.supervisor.seats import Phase
from tritonfleet.supervisor.share import ShareGroup
from tritonfleet.supervisor.share_metrics import share_text
from tritonfleet.supervisor.sleeper import Sleeper, SwitchFailed, sleeping_of
from tritonfleet.wire import FleetStatus, ShareStatus, dump, load

SHARING = ShareSpec(min_residency_seconds=0.001, residency_per_switch=0, idle_seconds=0.001, drain_seconds=0.05)


class ScriptedEngine:
    """An engine that is up when its turn comes, and that tells what was done to it."""

    def __init__(self, name: str, group: ShareGroup) -> None:
        self.name = name
        self.level = 1
        self.pid: int | None = None
        self.killed: list[str] = []
        self.steps: list[str] = []
        self.wake_error = ""
        self.turnstile = group.turnstile(name)

    async def start(self) -> None:
        """Start, as the owner task of a real engine does."""
        await self.turnstile.enter()
        self.pid = 1
        self.steps.append("start")
        self.turnstile.serves()

    def fail(self, reason: str) -> None:
        """Be killed."""
        self.killed.append(reason)
        self.pid = None
        self.turnstile.left(reason)

    async def sleep(self) -> None:
        """Fall asleep."""
        self.steps.append("sleep")

    async def wake(self) -> None:
        """Wake up, or not."""
        self.steps.append("wake")
        if self.wake_error:
            raise SwitchFailed(self.wake_error)


class Waiter:
    """Asks for a lease and keeps the answer."""

    def __init__(self, group: ShareGroup, lease: str, model: str, seconds: float = 10.0) -> None:
        self.group, self.lease = group, lease
        self.answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        group.ask(lease, model, seconds, self)

    def granted(self, lease: str) -> None:
        """Keep it."""
        self.answer.set_result("granted")

    def refused(self, lease: str, reason: str, retry_after_seconds: float) -> None:
        """Keep the reason."""
        self.answer.set_result(reason)

    def revoked(self, lease: str, reason: str) -> None:
        """Keep the reason."""
        self.ended.set_result(reason)

    def give_back(self) -> None:
        """End the request."""
        self.group.give_back(self.lease)


def make(sharing: ShareSpec = SHARING, **more: Any) -> tuple[ShareGroup, dict[str, ScriptedEngine], list[None]]:
    """Return a group of a and b, of which one fits; and w, that is kept warm, beside them."""
    models = {name: ModelSpec(name=name, source="./x", share="g", **more) for name in "ab"}
    models["w"] = ModelSpec(name="w", source="./x", share="g", keep_warm=True)
    members = (
        MemberPlan("a", 8, False, 1, 0.0, 0.0),
        MemberPlan("b", 8, False, 1, 0.0, 0.0),
        MemberPlan("w", 2, True, None, 0.0, 0.0),
    )
    changes: list[None] = []
    group = ShareGroup(GroupPlan("g", (0,), 10, members), sharing, models, lambda: changes.append(None))
    engines = {name: ScriptedEngine(name, group) for name in models}
    for name, engine in engines.items():
        group.join(name, cast("Engine", engine), None if name == "w" else cast("Sleeper", engine))
    return group, engines, changes


async def started(sharing: ShareSpec = SHARING) -> tuple[ShareGroup, dict[str, ScriptedEngine], list[None]]:
    """Return the group with all engines up: a and w are awake."""
    group, engines, changes = make(sharing)
    await asyncio.gather(*(engine.start() for engine in engines.values()))
    return group, engines, changes


def phases(group: ShareGroup) -> dict[str, str]:
    return {member.model: member.phase for member in group.status().members}


async def test_all_start_in_turn_and_the_favourite_and_the_warm_one_stay_awake() -> None:
    group, engines, _ = await started()
    assert phases(group) == {"a": "awake", "b": "asleep", "w": "awake"}
    assert engines["b"].steps == ["start", "sleep"]
    assert not group.needs_lease("w")


async def test_a_start_that_is_not_wanted_any_more_leaves_the_line() -> None:
    group, engines, _ = make()
    waiting = asyncio.create_task(engines["a"].start())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert group.phase("a") is Phase.OFF
    await engines["b"].start()
    assert group.phase("b") is Phase.AWAKE


async def test_leases_come_and_go_without_a_word_to_the_doors() -> None:
    """Each change of the routes wakes every gateway worker."""
    group, _, changes = await started()
    before = len(changes)
    for number in range(10):
        waiter = Waiter(group, str(number), "a")
        assert waiter.answer.result() == "granted"
        waiter.give_back()
    assert len(changes) == before


async def test_a_failed_wake_kills_the_engine_and_tells_only_its_waiters() -> None:
    group, engines, _ = await started()
    engines["b"].wake_error = "/wake_up was answered with 500"
    waiter = Waiter(group, "1", "b")
    assert "b failed to switch and is being started again: /wake_up was answered with 500" in await waiter.answer
    assert engines["b"].killed
    assert await Waiter(group, "2", "a").answer == "granted"
    assert "is being started again" in await Waiter(group, "3", "b").answer
    assert group.status().members[1].refused == 2


async def test_a_request_that_runs_on_is_revoked_and_its_model_leaves() -> None:
    group, engines, _ = await started()
    endless = Waiter(group, "1", "a")
    waiter = Waiter(group, "2", "b")
    assert "ran on for 0.05 s" in await asyncio.wait_for(endless.ended, 10)
    endless.give_back()
    assert await waiter.answer == "granted"
    assert engines["a"].steps == ["start", "sleep"]


async def test_by_hand() -> None:
    group, _, _ = await started()
    await group.sleep("a")
    assert phases(group) == {"a": "asleep", "b": "asleep", "w": "awake"}
    await group.wake("b")
    assert phases(group)["b"] == "awake"
    assert group.status().members[1].running == 0
    with pytest.raises(UsageError, match="w is kept warm"):
        await group.sleep("w")
    group.retire("a")
    with pytest.raises(EngineFailed, match="a cannot sleep now: it is off"):
        await group.sleep("a")


#: Of the models; without a name of their own it would be the group's.
POOLS = {"a": "gpus", "b": "gpus", "w": "gpus"}


async def test_the_state_reaches_status_metrics_and_screen() -> None:
    group, _, _ = await started()
    running, waiter = Waiter(group, "1", "a"), Waiter(group, "2", "b", seconds=9.0)
    status = group.status()
    assert load(ShareStatus, json.loads(dump(status))) == status
    text = share_text("f", [status], POOLS)
    assert 'tritonfleet_share_waiting{fleet="f",group="g",model="b",pool="gpus"} 1\n' in text
    assert 'tritonfleet_share_resident{fleet="f",group="g",model="a",pool="gpus"} 1\n' in text
    assert 'tritonfleet_share_requests_total{fleet="f",group="g",model="b",pool="gpus"} 1\n' in text
    assert 'tritonfleet_share_held_total{fleet="f",group="g",model="a",pool="gpus"} 0\n' in text
    assert 'tritonfleet_share_held_total{fleet="f",group="g",model="b",pool="gpus"} 1\n' in text
    assert 'tritonfleet_share_refused_total{fleet="f",group="g",model="b",pool="gpus"} 0\n' in text
    running.give_back()
    assert await waiter.answer == "granted"
    text = share_text("f", [group.status()], POOLS)
    assert 'tritonfleet_share_switches_total{fleet="f",group="g"} 1\n' in text
    assert 'tritonfleet_share_switch_seconds_count{fleet="f",group="g"} 1\n' in text
    console = Console(width=200)
    with console.capture() as captured:
        console.print(fleet_view(FleetStatus("f", 1, "ready", 1.0, shares=(status, group.status()))))
    assert "share g on gpu 0: a and w awake; 1 wait for b, " in captured.get()
    assert "b and w awake; switched once, 0.0" in captured.get()
    assert "requests that waited for a turn: b 1 of 1" in captured.get()
    assert share_text("f", [], POOLS) == ""


def test_large_models_get_the_time_that_the_plan_predicts() -> None:
    """The first sleep pins the host memory, which takes some thirty times as long as a later one."""
    small = sleeping_of(1, (0,), MemberPlan("m", 8, False, 1, 0.31, 0.74), 60.0)
    large = sleeping_of(1, (0,), MemberPlan("m", 8, False, 1, 3.1, 25.0), 60.0)
    assert (small.sleep_limit_seconds, small.wake_limit_seconds) == (60.0, 60.0)
    assert large.sleep_limit_seconds > 300
    assert large.wake_limit_seconds == 75.0
