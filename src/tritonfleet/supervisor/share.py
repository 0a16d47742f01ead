"""A share group at work: the arbiter's orders are executed on engines, their results reported back to it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping

from tritonfleet.errors import EngineFailed, UsageError
from tritonfleet.planner.result import GroupPlan
from tritonfleet.spec.models import ModelSpec
from tritonfleet.spec.sharing import ShareSpec
from tritonfleet.supervisor.arbiter import Arbiter
from tritonfleet.supervisor.engine import Engine
from tritonfleet.supervisor.lease_book import Holder, LeaseBook, Waker
from tritonfleet.supervisor.seats import (
    SERVED,
    Grant,
    Member,
    Order,
    Phase,
    Refuse,
    Restart,
    Revoke,
    Sleep,
    Start,
    Wake,
    policy_of,
)
from tritonfleet.supervisor.sleeper import Sleeper
from tritonfleet.supervisor.switch_times import SwitchTimes
from tritonfleet.wire import ShareMember, ShareStatus

log = logging.getLogger(__name__)


class ShareGroup:
    """Models that take turns on one device; everything happens in the event loop's thread."""

    def __init__(
        self,
        plan: GroupPlan,
        sharing: ShareSpec,
        models: Mapping[str, ModelSpec],
        changed: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = plan.name
        self.sharing = sharing
        self._device = f"gpu {','.join(map(str, plan.gpus))}" if plan.gpus else "cpu"
        self._changed = changed
        self._clock = clock
        members = [
            Member(entry.model, entry.need_bytes, models[entry.model].priority, entry.keep_warm)
            for entry in plan.members
        ]
        self._arbiter = Arbiter(members, plan.capacity_bytes, policy_of(sharing))
        for member in members:
            self._arbiter.gone(member.name, reason="", now=clock())
        self._engines: dict[str, Engine] = {}
        self._sleepers: dict[str, Sleeper] = {}
        self._book = LeaseBook(member.name for member in members)
        self._starting: dict[str, asyncio.Future[None]] = {}
        self._unasked: list[str] = []
        self._switching: dict[str, asyncio.Task[None]] = {}
        self._tick: asyncio.TimerHandle | None = None
        self._waiting: set[asyncio.Future[None]] = set()
        self._times = SwitchTimes()
        self._phases: tuple[Phase, ...] = ()

    def join(self, model: str, engine: Engine, sleeper: Sleeper | None) -> None:
        """Take the engine of *model*, made with this group's turnstile; one that never sleeps has no sleeper."""
        self._engines[model] = engine
        if sleeper is not None:
            self._sleepers[model] = sleeper

    def turnstile(self, model: str) -> GroupTurnstile:
        """Return what the engine of *model* asks before it starts."""
        return GroupTurnstile(self, model)

    # --- leases -----------------------------------------------------------------------------------------------

    def ask(self, lease: str, model: str, seconds: float, holder: Holder) -> None:
        """Ask for a lease of *model*, waiting for at most *seconds*; the answer goes to *holder*, often at once."""
        self._book.enter(lease, model, holder)
        now = self._clock()
        orders = self._arbiter.request(lease, model, now=now, deadline=now + min(seconds, self.sharing.hold_seconds))
        self._book.counts[model].held += Grant(lease) not in orders
        self._obey(orders)

    def give_back(self, lease: str) -> None:
        """Give a lease back, or leave the line; unknown ones are ignored."""
        if self._book.strike(lease):
            self._obey(self._arbiter.release(lease, now=self._clock()))

    # --- what people ask for ----------------------------------------------------------------------------------

    async def sleep(self, model: str) -> None:
        """Put *model* to sleep when its requests have ended; raise UsageError or EngineFailed if that cannot be."""
        if model not in self._sleepers:
            raise UsageError(f"{model} is kept warm, and was started without the means to sleep")
        if self.phase(model) not in SERVED:
            raise EngineFailed(f"{model} cannot sleep now: it is {self.phase(model).value}")
        self._obey(self._arbiter.rest(model, now=self._clock()))
        seconds = self.sharing.drain_seconds + 2 * self.sharing.switch_seconds
        await self._until(lambda: self.phase(model) in (Phase.ASLEEP, Phase.BROKEN, Phase.OFF), seconds)
        if self.phase(model) is not Phase.ASLEEP:
            raise EngineFailed(f"{model} did not fall asleep: it is {self.phase(model).value}")

    async def wake(self, model: str) -> None:
        """Bring *model* in when the device can be had, as for a request; raise EngineFailed if that cannot be."""
        waker = Waker()
        lease = f"wake {id(waker)}"
        try:
            self.ask(lease, model, self.sharing.hold_seconds, waker)
            await waker.answer
        finally:
            self.give_back(lease)

    def phase(self, model: str) -> Phase:
        """Return where *model* is."""
        return self._arbiter.phase(model)

    def serves(self, model: str) -> bool:
        """Whether requests for *model* are served or held."""
        return self.phase(model) in SERVED

    def sleeps_by_stopping(self, model: str) -> bool:
        """Whether the engine of *model* does not run while it is asleep."""
        return model in self._sleepers and self._sleepers[model].level == "stop"

    def needs_lease(self, model: str) -> bool:
        """Whether *model* ever sleeps."""
        return model in self._sleepers

    def status(self) -> ShareStatus:
        """Return the state of the group."""
        members = []
        for view in self._arbiter.view(self._clock()):
            counts = self._book.counts[view.model]
            members.append(
                ShareMember(
                    model=view.model,
                    phase=view.phase.value,
                    running=view.leases,
                    waiting=view.waiting,
                    oldest_wait_seconds=view.oldest_wait_seconds,
                    asked=counts.asked,
                    held=counts.held,
                    refused=counts.refused,
                )
            )
        return ShareStatus(
            group=self.name,
            device=self._device,
            members=tuple(members),
            switches=self._times.count,
            switch_seconds_sum=self._times.sum_seconds,
            switch_seconds_bounds=self._times.bounds,
            switch_seconds_counts=self._times.counts,
        )

    # --- what the engines tell --------------------------------------------------------------------------------

    async def enter(self, model: str) -> None:
        """Wait until the engine of *model* may start."""
        if self.phase(model) is Phase.WAKING:  # it starts because it was told to wake
            return
        turn = self._starting[model] = asyncio.get_running_loop().create_future()
        if not self._unasked:
            # Engines that come in the same moment are asked for together: the arbiter then knows them all.
            asyncio.get_running_loop().call_soon(self._ask_for_starts)
        self._unasked.append(model)
        try:
            await turn
        except asyncio.CancelledError:
            self._unasked = [name for name in self._unasked if name != model]
            self._starting.pop(model, None)
            self._gone(model, "it was stopped")
            raise

    def came_up(self, model: str) -> None:
        """The engine of *model* serves."""
        if self.phase(model) is Phase.STARTING:
            self._obey(self._arbiter.started(model, awake=True, now=self._clock()))

    def left(self, model: str, reason: str) -> None:
        """The process of *model*'s engine has ended."""
        if self.phase(model) is Phase.SLEEPING and self.sleeps_by_stopping(model):
            return  # as it was told to; the order's own end follows
        self._gone(model, f"{model} is not there: {reason.splitlines()[0]}")

    def retire(self, model: str) -> None:
        """*model* was unloaded; one that slept as a stopped engine does not wake any more."""
        if self.phase(model) is not Phase.OFF:
            self._gone(model, f"{model} was unloaded")

    async def close(self) -> None:
        """End what is under way."""
        if self._tick is not None:
            self._tick.cancel()
        for task in self._switching.values():
            task.cancel()
        await asyncio.gather(*self._switching.values(), return_exceptions=True)

    def _gone(self, model: str, reason: str) -> None:
        if (task := self._switching.pop(model, None)) is not None:
            task.cancel()
        self._obey(self._arbiter.gone(model, reason=reason, now=self._clock()))

    def _ask_for_starts(self) -> None:
        models, self._unasked = self._unasked, []
        self._obey(self._arbiter.start(*models, now=self._clock()))

    # --- orders -----------------------------------------------------------------------------------------------

    def _obey(self, orders: list[Order]) -> None:
        for order in orders:
            if isinstance(order, Grant | Refuse | Revoke):
                self._book.answer(order)
            else:
                self._execute(order)
        for seconds in self._arbiter.switch_seconds:
            self._times.add(seconds)
        self._arbiter.switch_seconds.clear()
        self._set_tick()
        phases = tuple(map(self._arbiter.phase, self._book.counts))
        if phases != self._phases:  # leases come and go too often to tell everybody
            self._phases = phases
            for waiting in self._waiting:
                if not waiting.done():
                    waiting.set_result(None)
            self._changed()

    def _execute(self, order: Start | Sleep | Wake | Restart) -> None:
        match order:
            case Start(model):
                self._start(model)
            case Sleep(model):
                self._switch(model, self._sleepers[model].sleep, self._arbiter.slept)
            case Wake(model):
                self._switch(model, self._sleepers[model].wake, self._arbiter.woke)
            case Restart(model, reason):
                self._restart(model, reason)

    def _start(self, model: str) -> None:
        turn = self._starting.pop(model, None)
        if turn is not None and not turn.done():
            turn.set_result(None)

    def _restart(self, model: str, reason: str) -> None:
        log.warning("%s", reason)
        engine = self._engines[model]
        if engine.pid is None:  # nothing runs that could end
            self._gone(model, reason)
        else:
            engine.fail(reason)

    def _switch(self, model: str, work: Callable[[], Awaitable[None]], report: Callable[..., list[Order]]) -> None:
        async def run() -> None:
            began = self._clock()
            try:
                await work()
                reason = ""
            except EngineFailed as err:
                reason = str(err) or "it failed"
            except Exception as err:  # a bug must not leave the device with nobody
                log.exception("%s: cannot switch", model)
                reason = repr(err)
            what = work.__name__
            log.info(
                "%s: %s took %.2f s%s", model, what, self._clock() - began, f" and failed: {reason}" * bool(reason)
            )
            self._switching.pop(model, None)
            self._obey(report(model, ok=not reason, reason=reason, now=self._clock()))

        self._switching[model] = asyncio.create_task(run(), name=f"switch {model}")

    # --- time -------------------------------------------------------------------------------------------------

    def _set_tick(self) -> None:
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None
        now = self._clock()
        moment = self._arbiter.next_tick(now)
        if moment is not None:
            # A timer can come a little early by the other clock; a millisecond later is early enough.
            self._tick = asyncio.get_running_loop().call_later(moment - now + 0.001, self._on_tick)

    def _on_tick(self) -> None:
        self._tick = None
        self._obey(self._arbiter.tick(now=self._clock()))

    async def _until(self, reached: Callable[[], bool], seconds: float) -> None:
        """Wait until *reached* holds, at most *seconds*."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while not reached() and loop.time() < end:
            waiting: asyncio.Future[None] = loop.create_future()
            self._waiting.add(waiting)
            try:
                await asyncio.wait({waiting}, timeout=end - loop.time())
            finally:
                self._waiting.discard(waiting)


class GroupTurnstile:
    """What an engine of a group asks and tells; see ``engine.Turnstile``."""

    def __init__(self, group: ShareGroup, model: str) -> None:
        self._group = group
        self._model = model

    async def enter(self) -> None:
        """Wait for the engine's turn to start."""
        await self._group.enter(self._model)

    def serves(self) -> None:
        """The engine is ready."""
        self._group.came_up(self._model)

    def left(self, reason: str) -> None:
        """The process has ended."""
        self._group.left(self._model, reason)
