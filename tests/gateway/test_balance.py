"""Choosing replicas: everybody is asked once, conversations stay, nobody is buried."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tritonfleet.gateway.balance import allowed, order

LOADS = st.lists(st.integers(0, 2000), min_size=1, max_size=12)
CONVERSATION = st.binary(min_size=8, max_size=8)


def names(count: int) -> list[str]:
    return [f"unix:/run/{number}.sock" for number in range(count)]


@given(LOADS, st.none() | CONVERSATION)
def test_every_replica_is_asked_once(loads: list[int], conversation: bytes | None) -> None:
    assert sorted(order(loads, names(len(loads)), conversation)) == list(range(len(loads)))


@given(LOADS)
def test_without_a_conversation_the_least_busy_comes_first(loads: list[int]) -> None:
    ranking = order(loads, names(len(loads)))
    assert [loads[number] for number in ranking] == sorted(loads)


@given(LOADS, CONVERSATION)
def test_the_first_is_never_far_ahead_of_the_least_busy(loads: list[int], conversation: bytes) -> None:
    ranking = order(loads, names(len(loads)), conversation)
    assert loads[ranking[0]] <= allowed(min(loads))
    rest = [loads[number] for number in ranking[1:]]
    assert rest == sorted(rest)


@given(st.integers(2, 12), st.integers(0, 100), CONVERSATION)
def test_a_conversation_keeps_its_replica_under_equal_load(count: int, load: int, conversation: bytes) -> None:
    first = order([load] * count, names(count), conversation)[0]
    assert order([load] * count, names(count), conversation)[0] == first


@given(st.integers(2, 12), st.data(), CONVERSATION)
def test_it_keeps_its_replica_when_another_leaves(count: int, data: st.DataObject, conversation: bytes) -> None:
    home = order([0] * count, names(count), conversation)[0]
    gone = data.draw(st.integers(0, count - 1).filter(lambda number: number != home))
    left = [name for number, name in enumerate(names(count)) if number != gone]
    assert left[order([0] * (count - 1), left, conversation)[0]] == names(count)[home]


@given(st.lists(CONVERSATION, min_size=1, max_size=200), st.integers(2, 6))
def test_requests_that_never_end_fill_all_replicas_evenly(conversations: list[bytes], count: int) -> None:
    loads = [0] * count
    for conversation in conversations:
        loads[order(loads, names(count), conversation)[0]] += 1
    assert max(loads) <= allowed(min(loads)) + 1


def test_different_conversations_spread() -> None:
    homes = Counter(order([0] * 4, names(4), number.to_bytes(8, "big"))[0] for number in range(4000))
    assert all(800 < homes[number] < 1200 for number in range(4)), homes
