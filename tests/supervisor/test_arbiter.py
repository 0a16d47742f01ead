"""The arbiter over arbitrary traffic: safe at every step, and nobody waits for ever."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tritonfleet.supervisor.arbiter import Arbiter
from tritonfleet.supervisor.seats import (
    Grant,
    Member,
    Order,
    Phase,
    Policy,
    Refuse,
    Restart,
    Revoke,
    Sleep,
    Start,
    Wake,
)

SLEEP_SECONDS, WAKE_SECONDS, START_SECONDS, END_SECONDS, BACKOFF_SECONDS = 0.3, 0.7, 3.0, 0.5, 1.0
POLICY = Policy(min_residency_seconds=2.0, max_wait_seconds=10.0)


@dataclass
class Device:
    """Executes orders in simulated time and checks every step."""

    arbiter: Arbiter
    needs: dict[str, int]
    capacity: int
    failures: set[int] = field(default_factory=set)
    """Numbers of the sleeps, wakes and starts that fail."""
    deaf: bool = False
    """Whether holders ignore that their lease is revoked."""
    now: float = 0.0
    agenda: list[tuple[float, int, str, str]] = field(default_factory=list)
    planned: int = 0
    granted: dict[str, float] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    revoked: set[str] = field(default_factory=set)
    models: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    out: set[str] = field(default_factory=set)
    busy: dict[str, str] = field(default_factory=dict)
    """Model to the order that is under way for its engine."""
    switches: int = 0
    started: list[str] = field(default_factory=list)

    def plan(self, delay: float, what: str, name: str) -> None:
        self.planned += 1
        heapq.heappush(self.agenda, (self.now + delay, self.planned, what, name))

    def obey(self, orders: list[Order]) -> None:
        for order in orders:
            if isinstance(order, Grant):
                assert order.lease not in self.granted
                assert order.lease not in self.refused
                self.granted[order.lease] = self.now
                self.out.add(order.lease)
                self.plan(self.seconds[order.lease], "release", order.lease)
            elif isinstance(order, Refuse):
                assert order.lease not in self.granted
                assert order.lease not in self.refused
                self.refused[order.lease] = order.reason
            elif isinstance(order, Revoke):
                assert order.lease in self.out
                self.revoked.add(order.lease)
                if not self.deaf:
                    self.plan(0.1, "release", order.lease)
            elif isinstance(order, Restart):
                self.forget(order.model)
                self.busy.pop(order.model, None)
                self.plan(END_SECONDS, "ended", order.model)
            else:
                assert order.model not in self.busy, "one order at a time for an engine"
                seconds, what = {
                    Sleep: (SLEEP_SECONDS, "slept"),
                    Wake: (WAKE_SECONDS, "woke"),
                    Start: (START_SECONDS, "started"),
                }[type(order)]
                if isinstance(order, Sleep):
                    assert not any(self.models[lease] == order.model for lease in self.out), "asleep with a lease out"
                if isinstance(order, Start):
                    self.started.append(order.model)
                self.busy[order.model] = what
                self.plan(seconds, what, order.model)
        self.check()

    def forget(self, model: str) -> None:
        """The engine is dead, and its requests with it."""
        self.out = {lease for lease in self.out if self.models[lease] != model}

    def check(self) -> None:
        held = [view.model for view in self.arbiter.view(self.now) if view.phase not in (Phase.ASLEEP, Phase.OFF)]
        assert sum(self.needs[model] for model in held) <= self.capacity

    def ask(self, lease: str, model: str, seconds: float, patience: float = 1e9) -> None:
        self.models[lease], self.seconds[lease] = model, seconds
        self.obey(self.arbiter.request(lease, model, now=self.now, deadline=self.now + patience))

    def crash(self, model: str) -> None:
        if self.arbiter.phase(model) in (Phase.OFF, Phase.BROKEN):
            return
        self.forget(model)
        self.busy.pop(model, None)
        self.agenda = [
            entry for entry in self.agenda if entry[2:] not in ((w, model) for w in ("slept", "woke", "started"))
        ]
        heapq.heapify(self.agenda)
        self.plan(0.0, "ended", model)

    def happens(self, what: str, name: str) -> None:
        now, arbiter = self.now, self.arbiter
        if what == "release":
            self.out.discard(name)
            self.obey(arbiter.release(name, now=now))
        elif what == "ended":
            self.plan(BACKOFF_SECONDS, "start", name)
            self.obey(arbiter.gone(name, reason="it died", now=now))
        elif what == "start":
            self.obey(arbiter.start(name, now=now))
        else:
            self.switches += 1
            self.busy.pop(name, None)
            ok = self.switches not in self.failures
            if what == "started" and ok:
                self.obey(arbiter.started(name, awake=True, now=now))
            elif what == "started":
                self.plan(0.0, "ended", name)
            else:
                self.obey((arbiter.slept if what == "slept" else arbiter.woke)(name, ok=ok, now=now))

    def step(self, until: float) -> bool:
        """Go to the next event, at most to *until*; return whether there was one."""
        tick = self.arbiter.next_tick(self.now)
        moments = [tick] if tick is not None else []
        moments += [self.agenda[0][0]] if self.agenda else []
        if not moments or min(moments) > until:
            return False
        if self.agenda and self.agenda[0][0] <= min(moments):
            self.now, _, what, name = heapq.heappop(self.agenda)
            self.happens(what, name)
        else:
            self.now = min(moments)
            self.obey(self.arbiter.tick(now=self.now))
        return True

    def run(self, until: float = 1e8) -> None:
        for _ in range(20_000):
            if not self.step(until):
                self.now = until if until < 1e8 else self.now
                return
        raise AssertionError("the arbiter does not come to rest")


def device(*, capacity: int = 10, policy: Policy = POLICY, **needs: int) -> Device:
    arbiter = Arbiter([Member(name, size) for name, size in needs.items()], capacity, policy)
    return Device(arbiter, needs, capacity)


traffic = st.lists(
    st.tuples(st.sampled_from("abc"), st.floats(0, 5), st.floats(0.01, 4), st.sampled_from([1e9, 3.0])), max_size=40
)
policies = st.builds(
    Policy,
    min_residency_seconds=st.sampled_from([0.0, 2.0]),
    residency_per_switch=st.sampled_from([0.0, 4.0]),
    max_wait_seconds=st.sampled_from([1.0, 10.0]),
    drain_seconds=st.sampled_from([1.0, float("inf")]),
    revoke_seconds=st.just(0.5),
)
members = st.builds(
    lambda priorities, warm: [
        Member("a", 6, priorities[0]),
        Member("b", 6, priorities[1]),
        Member("c", 5, priorities[2], keep_warm=warm),
    ],
    st.tuples(*[st.integers(0, 2)] * 3),
    st.booleans(),
)


@settings(deadline=None)
@given(traffic, st.sets(st.integers(1, 20), max_size=3), st.integers(11, 18), policies, members, st.booleans())
def test_every_request_is_answered_and_no_step_is_unsafe(
    requests: list[tuple[str, float, float, float]],
    failures: set[int],
    capacity: int,
    policy: Policy,
    group: list[Member],
    deaf: bool,
) -> None:
    shared = Device(Arbiter(group, capacity, policy), {entry.name: entry.need_bytes for entry in group}, capacity)
    shared.failures, shared.deaf = failures, deaf
    for number, (model, pause, seconds, patience) in enumerate(requests):
        shared.run(until=shared.now + pause)
        shared.ask(f"r{number}", model, seconds, patience)
    shared.run()
    assert set(shared.granted) | set(shared.refused) == {f"r{number}" for number in range(len(requests))}
    assert not any(view.leases or view.waiting for view in shared.arbiter.view(shared.now))
    if not failures and not deaf:
        impatient = {f"r{number}" for number, entry in enumerate(requests) if entry[3] < 1e9}
        assert set(shared.refused) <= impatient
    if policy.drain_seconds == float("inf"):
        assert not shared.revoked


steps = st.lists(
    st.tuples(
        st.sampled_from(["ask", "ask", "ask", "crash", "rest", "leave"]), st.sampled_from("abc"), st.floats(0, 4)
    ),
    max_size=40,
)


@settings(deadline=None)
@given(steps, policies, members, st.booleans(), st.sets(st.integers(1, 20), max_size=2))
def test_crashes_starts_and_rests_at_any_moment_lose_nobody(
    steps: list[tuple[str, str, float]], policy: Policy, group: list[Member], cold: bool, failures: set[int]
) -> None:
    shared = Device(Arbiter(group, 11, policy), {entry.name: entry.need_bytes for entry in group}, 11)
    shared.failures = failures
    if cold:
        shared.obey(shared.arbiter.start(*(entry.name for entry in group), now=0.0))
    asked, left = 0, set()
    for what, model, pause in steps:
        if what == "ask":
            asked += 1
            shared.ask(f"r{asked}", model, 1.0)
        elif what == "crash":
            shared.crash(model)
        elif what == "rest":
            shared.obey(shared.arbiter.rest(model, now=shared.now))
        elif asked and f"r{asked}" not in shared.granted | shared.refused:
            left.add(f"r{asked}")
            shared.obey(shared.arbiter.release(f"r{asked}", now=shared.now))
        shared.run(until=shared.now + pause)
    shared.run()
    assert left.isdisjoint(shared.granted)
    assert set(shared.granted) | set(shared.refused) | left == {f"r{number}" for number in range(1, asked + 1)}
    views = shared.arbiter.view(shared.now)
    assert all(view.phase in (Phase.ASLEEP, Phase.AWAKE) and not view.leases and not view.waiting for view in views)


def test_a_request_for_a_sleeping_model_takes_one_switch() -> None:
    shared = device(a=8, b=8)
    shared.ask("first", "a", 0.1)
    shared.run()
    shared.now = 100.0
    shared.ask("second", "b", 0.1)
    shared.run()
    assert shared.granted["second"] == pytest.approx(100 + SLEEP_SECONDS + WAKE_SECONDS)


def test_models_that_fit_together_never_sleep() -> None:
    shared = device(a=5, b=5)
    for number in range(10):
        shared.ask(f"r{number}", "ab"[number % 2], 0.5)
        shared.run(until=shared.now + 1)
    shared.run()
    assert shared.arbiter.switches == 0


def test_two_busy_models_do_not_thrash() -> None:
    shared = device(a=8, b=8)
    for number in range(200):
        shared.ask(f"r{number}", "ab"[number % 2], 0.2)
        shared.run(until=shared.now + 0.1)
    busy = shared.now
    shared.run()
    turn = POLICY.min_residency_seconds + SLEEP_SECONDS + WAKE_SECONDS
    assert shared.arbiter.switches <= busy / turn + 2


def test_an_endless_stream_for_the_resident_cannot_starve_the_other() -> None:
    shared = device(a=8, b=8)
    shared.ask("a0", "a", 1.0)
    shared.run(until=1.0)
    shared.ask("b", "b", 0.1)
    for number in range(1, 100):
        shared.ask(f"a{number}", "a", 1.0)
        shared.run(until=shared.now + 0.25)
    shared.run()
    assert shared.granted["b"] < POLICY.max_wait_seconds


def test_priority_goes_first_until_somebody_waited_too_long() -> None:
    members = [Member("a", 8), Member("low", 8), Member("high", 8, priority=1)]
    shared = Device(Arbiter(members, 10, POLICY), {"a": 8, "low": 8, "high": 8}, 10)
    shared.ask("hold", "a", 1.0)
    shared.ask("l", "low", 0.1)
    shared.ask("h", "high", 0.1)
    shared.run()
    assert shared.granted["h"] < shared.granted["l"]


def test_a_model_that_is_kept_warm_is_never_put_to_sleep() -> None:
    members = [Member("warm", 3, keep_warm=True), Member("b", 6), Member("c", 6)]
    shared = Device(Arbiter(members, 10, POLICY), {"warm": 3, "b": 6, "c": 6}, 10)
    for number, model in enumerate(["warm", "b", "c", "b", "warm"]):
        shared.ask(f"r{number}", model, 0.1)
        shared.run()
        assert shared.arbiter.phase("warm") is Phase.AWAKE
    assert shared.arbiter.switches == 2


def test_a_group_that_can_never_take_turns_is_refused() -> None:
    with pytest.raises(ValueError, match="b alone does not fit on the device beside those that are kept warm"):
        Arbiter([Member("warm", 8, keep_warm=True), Member("b", 8)], 10, POLICY)
    with pytest.raises(ValueError, match="a alone does not fit on the device"):
        Arbiter([Member("a", 11)], 10, POLICY)


def test_a_failed_wake_fails_only_that_models_requests() -> None:
    shared = device(a=8, b=8)
    shared.ask("a", "a", 0.1)
    shared.run()
    shared.failures = {shared.switches + 2}  # the sleep works, the wake does not
    shared.now = 50.0
    shared.ask("b", "b", 0.1)
    shared.run(until=52.0)
    assert "failed to switch" in shared.refused["b"]
    shared.ask("a2", "a", 0.1)
    shared.run()
    assert "a2" in shared.granted


def test_who_gives_up_stops_the_switch() -> None:
    shared = device(a=8, b=8)
    shared.ask("a", "a", 30.0)
    shared.run(until=5.0)
    shared.ask("b", "b", 0.1)
    assert {view.model: view.phase for view in shared.arbiter.view(5.0)}["a"] is Phase.DRAINING
    shared.obey(shared.arbiter.release("b", now=6.0))
    shared.ask("a2", "a", 0.1)
    assert shared.granted["a2"] == 5.0


def test_engines_start_one_after_the_other_and_the_favourite_stays() -> None:
    members = [Member("a", 8, priority=1), Member("b", 8), Member("c", 8)]
    shared = Device(Arbiter(members, 10, POLICY), {"a": 8, "b": 8, "c": 8}, 10)
    shared.obey(shared.arbiter.start("a", "b", "c", now=0.0))
    shared.run()
    assert shared.started == ["c", "b", "a"]
    assert [view.phase for view in shared.arbiter.view(shared.now)] == [Phase.AWAKE, Phase.ASLEEP, Phase.ASLEEP]
    assert shared.arbiter.switches == 0
    assert shared.now < 3 * START_SECONDS + 2 * SLEEP_SECONDS + 0.1


def test_a_request_is_held_while_its_engine_starts() -> None:
    shared = device(a=8)
    shared.obey(shared.arbiter.start("a", now=0.0))
    shared.ask("first", "a", 0.1)
    shared.run()
    assert shared.granted["first"] == START_SECONDS


def test_a_slow_switch_lengthens_the_residency() -> None:
    shared = device(a=8, b=8)
    shared.ask("a0", "a", 0.1)
    shared.run()
    shared.ask("b0", "b", 0.1)
    shared.run()
    woke = shared.now
    for number in range(1, 40):
        shared.ask(f"b{number}", "b", 1.0)
        if number == 1:
            shared.ask("a1", "a", 0.1)
        shared.run(until=shared.now + 0.25)
    shared.run()
    switch = SLEEP_SECONDS + WAKE_SECONDS
    assert shared.granted["a1"] - woke >= 4 * switch - 0.1
    assert shared.granted["a1"] - woke < 4 * switch + switch + 1.5


def test_who_is_refused_is_told_how_long_the_device_is_kept() -> None:
    """At least the shortest residency, and no longer than the longest wait."""
    policy = Policy(min_residency_seconds=2.0, residency_per_switch=4.0, max_wait_seconds=3.5)
    shared = device(a=8, b=8, policy=policy)
    shared.ask("a", "a", 0.1)
    shared.run(until=10.0)

    def told() -> float:
        shared.obey(shared.arbiter.gone("b", reason="", now=shared.now))
        (refusal,) = shared.arbiter.request("late", "b", now=shared.now, deadline=shared.now + 1)
        assert isinstance(refusal, Refuse)
        return refusal.retry_after_seconds

    assert told() == 2.0
    shared.obey(shared.arbiter.started("b", awake=False, now=shared.now))
    shared.ask("b", "b", 0.1)
    shared.run(until=30.0)
    assert shared.arbiter.switches == 1
    assert told() == pytest.approx(min(4.0 * (SLEEP_SECONDS + WAKE_SECONDS), 3.5))


def test_a_model_of_low_priority_waits_for_the_work_of_a_high_one() -> None:
    members = [Member("high", 8, priority=1), Member("low", 8)]
    shared = Device(Arbiter(members, 10, POLICY), {"high": 8, "low": 8}, 10)
    shared.ask("h0", "high", 1.0)
    shared.ask("l", "low", 0.1)
    for number in range(1, 100):
        shared.run(until=shared.now + 0.25)
        shared.ask(f"h{number}", "high", 1.0)
    shared.run()
    assert POLICY.max_wait_seconds <= shared.granted["l"] < POLICY.max_wait_seconds + 3


def test_a_request_that_never_ends_is_ended_for_the_others() -> None:
    shared = device(a=8, b=8, policy=Policy(drain_seconds=5.0, max_wait_seconds=1.0))
    shared.ask("endless", "a", 1e6)
    shared.run(until=10.0)
    shared.ask("b", "b", 0.1)
    shared.run(until=30.0)
    assert shared.revoked == {"endless"}
    assert shared.granted["b"] == pytest.approx(10 + 5 + 0.1 + SLEEP_SECONDS + WAKE_SECONDS)


def test_an_engine_whose_requests_cannot_be_ended_is_started_again() -> None:
    shared = device(a=8, b=8, policy=Policy(drain_seconds=5.0, max_wait_seconds=1.0))
    shared.deaf = True
    shared.ask("endless", "a", 1e6)
    shared.run(until=10.0)
    shared.ask("b", "b", 0.1)
    shared.run(until=60.0)
    assert shared.granted["b"] == pytest.approx(10 + 5 + 5 + END_SECONDS + WAKE_SECONDS)
    assert shared.started == ["a"]


def test_who_is_asked_to_rest_sleeps_after_its_requests_and_wakes_for_the_next() -> None:
    shared = device(a=8)
    shared.ask("first", "a", 1.0)
    shared.run(until=WAKE_SECONDS + 0.5)
    shared.obey(shared.arbiter.rest("a", now=shared.now))
    assert shared.arbiter.phase("a") is Phase.DRAINING
    shared.run()
    assert shared.arbiter.phase("a") is Phase.ASLEEP
    shared.ask("second", "a", 0.1)
    shared.run()
    assert "second" in shared.granted
