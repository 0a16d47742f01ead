"""The packing: what it gives fits, and it gives something whenever something fits."""

from __future__ import annotations

from itertools import combinations, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tritonfleet.planner.packing import Item, SearchTooLong, pack


@st.composite
def problems(draw: st.DrawFn) -> tuple[list[Item], list[int]]:
    """Up to five items on up to four GPUs, sizes close to the capacities so that fits are tight."""
    capacities = draw(st.lists(st.integers(1, 12), min_size=1, max_size=4))
    count = len(capacities)
    items = []
    for index in range(draw(st.integers(0, 5))):
        size = draw(st.integers(1, min(2, count)))
        alike = draw(st.booleans())
        needs = draw(st.lists(st.integers(0, 9), min_size=count, max_size=count))
        fixed = tuple(draw(st.permutations(range(count)))[:size]) if draw(st.booleans()) else None
        whole = fixed is None and draw(st.booleans())
        kinds = () if fixed or draw(st.booleans()) else tuple(draw(st.integers(0, 1)) for _ in capacities)
        needs = needs[:1] * count if alike else needs
        items.append(Item(str(index), size, tuple(needs), whole=whole, fixed=fixed, kinds=kinds))
    return items, capacities


def valid(items: list[Item], capacities: list[int], places: dict[str, tuple[int, ...]]) -> bool:
    """Say whether *places* keeps every rule; written without looking at the search."""
    users: list[list[Item]] = [[] for _ in capacities]
    for item in items:
        gpus = places[item.name]
        if len(set(gpus)) != item.size or (item.fixed is not None and item.fixed != gpus):
            return False
        if item.kinds and len({item.kinds[gpu] for gpu in gpus}) > 1:
            return False
        for gpu in gpus:
            users[gpu].append(item)
    return all(
        sum(item.needs[gpu] for item in here) <= capacity and (len(here) < 2 or not any(item.whole for item in here))
        for gpu, (here, capacity) in enumerate(zip(users, capacities, strict=True))
    )


def brute_force(items: list[Item], capacities: list[int]) -> bool:
    """Try every assignment."""
    choices = [[item.fixed] if item.fixed else list(combinations(range(len(capacities)), item.size)) for item in items]
    names = [item.name for item in items]
    return any(valid(items, capacities, dict(zip(names, gpus, strict=True))) for gpus in product(*choices))


@settings(max_examples=200, deadline=None)
@given(problems())
def test_a_packing_is_found_exactly_when_there_is_one(problem: tuple[list[Item], list[int]]) -> None:
    """And what is found keeps the rules."""
    items, capacities = problem
    found = pack(items, capacities)
    assert (found is not None) == brute_force(items, capacities)
    if found is not None:
        assert valid(items, capacities, dict(found))


def test_items_spread_while_there_is_room() -> None:
    """Two small items on two GPUs do not share one."""
    found = pack([Item("a", 1, (1, 1)), Item("b", 1, (1, 1))], [10, 10])
    assert found is not None
    assert set(found.values()) == {(0,), (1,)}


def test_many_equal_items_that_do_not_fit_are_refused_at_once() -> None:
    """States that failed once are not searched again."""
    items = [Item(str(index), 1, (6,) * 8) for index in range(9)]
    assert pack(items, [10] * 8) is None


def test_a_hopeless_search_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """With an error of its own, never with a wrong answer."""
    monkeypatch.setattr("tritonfleet.planner.packing.STEPS", 3)
    with pytest.raises(SearchTooLong):
        pack([Item(str(index), 1, (3,) * 4) for index in range(9)], [7] * 4)
