"""The arbiter over arbitrary traffic: safe at every step, and nobody waits for ever."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tritonfleet.supervisor.arbiter import Arbiter, Grant, Member, Order, Phase, Policy, Refuse, Sleep, Wake

SLEEP_SECONDS, WAKE_SECONDS = 0.3, 0.7
POLICY = Policy(min_residency_seconds=2.0, max_wait_seconds=10.0)


@dataclass
class Device:
    """Executes orders in simulated time and checks every step."""

    arbiter: Arbiter
    needs: dict[str, int]
    capacity: int
    failures: set[int] = field(default_factory=set)
    """Numbers of the switches that fail."""
    now: float = 0.0
    agenda: list[tuple[float, int, str, str]] = field(default_factory=list)
    granted: dict[str, float] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    out: set[str] = field(default_factory=set)
    switches: int = 0

    def plan(self, delay: float, what: str, name: str) -> None:
        self.agenda.append((self.now + delay, len(self.agenda), what, name))
        self.agenda.sort()

    def obey(self, orders: list[Order]) -> None:
        for order in orders:
            if isinstance(order, Grant):
                assert order.lease not in self.granted
                self.granted[order.lease] = self.now
                self.out.add(order.lease)
                self.plan(self.seconds[order.lease], "release", order.lease)
            elif isinstance(order, Refuse):
                self.refused[order.lease] = order.reason
            elif isinstance(order, Sleep):
                assert not any(self.models[lease] == order.model for lease in self.out), "asleep with a lease out"
                self.plan(SLEEP_SECONDS, "slept", order.model)
            elif isinstance(order, Wake):
                self.plan(WAKE_SECONDS, "woke", order.model)
        self.check()

    def check(self) -> None:
        held = [view.model for view in self.arbiter.view(self.now) if view.phase is not Phase.ASLEEP]
        assert sum(self.needs[model] for model in held) <= self.capacity

    def ask(self, lease: str, model: str, seconds: float, patience: float = 1e9) -> None:
        self.models[lease], self.seconds[lease] = model, seconds
        self.obey(self.arbiter.request(lease, model, now=self.now, deadline=self.now + patience))

    def step(self) -> bool:
        tick = self.arbiter.next_tick(self.now)
        if not self.agenda and tick is None:
            return False
        if self.agenda and (tick is None or self.agenda[0][0] <= tick):
            self.now, _, what, name = self.agenda.pop(0)
            if what == "release":
                self.out.discard(name)
                self.obey(self.arbiter.release(name, now=self.now))
            elif what == "repaired":
                self.obey(self.arbiter.started(name, awake=False, now=self.now))
            else:
                self.switches += 1
                ok = self.switches not in self.failures
                if not ok:
                    self.plan(5.0, "repaired", name)
                report = self.arbiter.slept if what == "slept" else self.arbiter.woke
                self.obey(report(name, ok=ok, now=self.now))
        else:
            assert tick is not None
            self.now = tick
            self.obey(self.arbiter.tick(now=self.now))
        return True

    def run(self, until: float = 1e9) -> None:
        for _ in range(20_000):
            tick = self.arbiter.next_tick(self.now)
            moments = [moment for moment in (tick, self.agenda[0][0] if self.agenda else None) if moment is not None]
            if not moments or min(moments) > until:
                self.now = max(self.now, min(until, self.now + 1e9)) if until < 1e9 else self.now
                return
            self.step()
        raise AssertionError("the arbiter does not come to rest")


def device(*, capacity: int = 10, policy: Policy = POLICY, **needs: int) -> Device:
    arbiter = Arbiter([Member(name, size) for name, size in needs.items()], capacity, policy)
    return Device(arbiter, needs, capacity)


traffic = st.lists(
    st.tuples(st.sampled_from("abc"), st.floats(0, 5), st.floats(0.01, 4), st.sampled_from([1e9, 3.0])), max_size=40
)


@settings(deadline=None)
@given(traffic, st.sets(st.integers(1, 20), max_size=3), st.integers(6, 18))
def test_every_request_is_answered_and_no_step_is_unsafe(
    requests: list[tuple[str, float, float, float]], failures: set[int], capacity: int
) -> None:
    shared = device(capacity=capacity, a=6, b=6, c=5)
    shared.failures = failures
    for number, (model, pause, seconds, patience) in enumerate(requests):
        shared.run(until=shared.now + pause)
        shared.ask(f"r{number}", model, seconds, patience)
    shared.run()
    assert set(shared.granted) | set(shared.refused) == {f"r{number}" for number in range(len(requests))}
    if not failures:
        impatient = {f"r{number}" for number, entry in enumerate(requests) if entry[3] < 1e9}
        assert set(shared.refused) <= impatient


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
    members = [Member("warm", 8, keep_warm=True), Member("b", 8)]
    shared = Device(Arbiter(members, 10, POLICY), {"warm": 8, "b": 8}, 10)
    shared.ask("w", "warm", 0.1)
    shared.run()
    shared.ask("b", "b", 0.1, patience=20)
    shared.run()
    assert "did not get the device within 20.0 s" in shared.refused["b"]


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
