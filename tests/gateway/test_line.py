"""The line in front of a model: bounded, fair, by priority, and nobody's turn is lost."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tritonfleet.gateway.line import Line
from tritonfleet.gateway.problem import Problem


def line(running: int = 1, waiting: int = 2, seconds: float = 60.0) -> Line:
    return Line(lambda: running, waiting, seconds)


async def started(found: Line, priority: int = 0) -> asyncio.Task[None]:
    """Start to wait for a turn, until it is had or waited for."""
    task = asyncio.create_task(found.take("m", priority))
    await asyncio.sleep(0)
    return task


async def test_one_over_the_limit_waits_until_a_turn_ends() -> None:
    found = line()
    await found.take("m")
    second = await started(found)
    assert (found.running, found.waiting, second.done()) == (1, 1, False)
    found.give_back(1.0)
    await second
    assert (found.running, found.waiting) == (1, 0)


async def test_a_full_line_refuses_with_a_time_to_try_again() -> None:
    found = line(waiting=1)
    await found.take("m")
    waiting = await started(found)
    with pytest.raises(Problem, match="overloaded: 1 requests wait already") as caught:
        await found.take("m")
    assert caught.value.status == 429
    assert int(caught.value.headers["retry-after"]) >= 1
    waiting.cancel()


async def test_a_higher_priority_goes_first_and_takes_the_last_ones_place() -> None:
    found = line(waiting=2)
    await found.take("m")
    first, last = await started(found), await started(found)
    urgent = await started(found, priority=5)
    with pytest.raises(Problem, match="overloaded"):
        await last
    found.give_back(1.0)
    await urgent
    assert not first.done()
    found.give_back(1.0)
    await first


async def test_a_wait_that_is_too_long_ends() -> None:
    found = line(seconds=0.01)
    await found.take("m")
    with pytest.raises(Problem, match=r"no turn came within 0\.01 s"):
        await found.take("m")
    assert found.waiting == 0


async def test_the_turn_of_one_who_left_goes_to_the_next() -> None:
    found = line()
    await found.take("m")
    leaver, patient = await started(found), await started(found)
    found.give_back(1.0)  # the leaver's turn ...
    leaver.cancel()  # ... comes as it goes
    await asyncio.gather(leaver, return_exceptions=True)
    await patient
    assert (found.running, found.waiting) == (1, 0)


async def test_more_room_lets_those_who_wait_in() -> None:
    limit = 0
    found = Line(lambda: limit, 5, 60.0)
    waiting = [await started(found) for _ in range(3)]
    limit = 2
    found.advance()
    await asyncio.gather(*waiting[:2])
    assert (found.running, found.waiting) == (2, 1)
    waiting[2].cancel()


@given(
    st.lists(st.sampled_from(["take", "urgent", "give", "cancel"]), max_size=60), st.integers(1, 3), st.integers(1, 4)
)
def test_no_turn_is_ever_lost(steps: list[str], running: int, waiting: int) -> None:
    async def play() -> None:
        found = line(running, waiting)
        tasks: list[asyncio.Task[None]] = []
        held = 0
        for step in steps:
            if step in ("take", "urgent"):
                tasks.append(await started(found, priority=int(step == "urgent")))
            elif step == "give" and held:
                found.give_back(0.1)
                held -= 1
            elif step == "cancel":
                for task in [task for task in tasks if not task.done()][:1]:
                    task.cancel()
            for _ in range(3):
                await asyncio.sleep(0)
            had = [task for task in tasks if task.done()]
            held += sum(not task.cancelled() and task.exception() is None for task in had)
            tasks = [task for task in tasks if not task.done()]
            assert found.running == held <= running
            assert found.waiting == len(tasks) <= waiting
            assert held == running or not tasks, "somebody waits beside a free turn"
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(play())
