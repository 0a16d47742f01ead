"""Which GPUs each engine gets: an exact search over what fits. Pure, and knows bytes only.

An item takes ``size`` GPUs, on each of them ``need`` bytes; a *whole* item takes its GPUs for itself. The search goes
on until a packing is found or none is left, so a packing is found whenever there is one; GPUs that are alike in what
is left of them are tried once. Emptier GPUs are tried first, so that engines spread out while there is room.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

#: Steps after which a search is given up; fleets of ordinary size need a few hundred.
STEPS = 200_000


@dataclass(frozen=True)
class Item:
    """Something that must lie on GPUs."""

    name: str
    size: int
    """GPUs."""
    needs: tuple[int, ...]
    """Bytes on each GPU, by the GPU's number."""
    whole: bool = False
    """Shares its GPUs with nothing."""
    fixed: tuple[int, ...] | None = None
    """The GPUs, when they are given."""
    kinds: tuple[int, ...] = ()
    """Kind of each GPU, by its number: an item's GPUs are of one kind. Empty where that does not matter."""


#: What makes a GPU different from another.
_State = tuple[int, int, tuple[tuple[int, int], ...]]


class SearchTooLong(Exception):
    """The search took more than STEPS steps."""


def pack(items: Sequence[Item], capacities: Sequence[int]) -> Mapping[str, tuple[int, ...]] | None:
    """Return the GPUs of each item by name, or None if the items do not fit; the largest items choose first.

    Raises SearchTooLong when the search was given up.
    """
    order = sorted(
        items, key=lambda item: (item.fixed is None, not item.whole, -item.size, -max(item.needs, default=0))
    )
    search = _Search(order, list(capacities))
    return search.result if search.run(0) else None


def _rank(item: Item) -> tuple[bool, bool, int, int]:
    return item.fixed is None, not item.whole, -item.size, -max(item.needs, default=0)


class _Search:
    """Depth-first over the items, with what is left of each GPU."""

    def __init__(self, items: Sequence[Item], left: list[int]) -> None:
        self._items = items
        self._left = left
        self._users = [0] * len(left)
        self._closed = [False] * len(left)
        self._steps = 0
        self._failed: set[tuple[object, ...]] = set()
        self.result: dict[str, tuple[int, ...]] = {}

    def run(self, index: int) -> bool:
        if index == len(self._items):
            return True
        self._steps += 1
        if self._steps > STEPS:
            raise SearchTooLong
        item = self._items[index]
        here = (index, *sorted((*self._state(gpu), self._closed[gpu]) for gpu in range(len(self._left))))
        if here in self._failed:
            return False
        for gpus in self._choices(item):
            self._take(item, gpus, 1)
            self.result[item.name] = gpus
            if self.run(index + 1):
                return True
            del self.result[item.name]
            self._take(item, gpus, -1)
        if item.fixed is None:
            self._failed.add(here)
        return False

    def _take(self, item: Item, gpus: tuple[int, ...], sign: int) -> None:
        for gpu in gpus:
            self._left[gpu] -= sign * item.needs[gpu]
            self._users[gpu] += sign
            if item.whole:
                self._closed[gpu] = sign > 0

    def _choices(self, item: Item) -> Iterator[tuple[int, ...]]:
        free = [gpu for gpu in range(len(self._left)) if self._fits(item, gpu)]
        if item.fixed is not None:
            if all(gpu in free for gpu in item.fixed):
                yield item.fixed
            return
        free.sort(key=lambda gpu: (self._users[gpu], -(self._left[gpu] - item.needs[gpu]), gpu))
        seen: set[tuple[_State, ...]] = set()
        for gpus in combinations(free, item.size):
            if item.kinds and len({item.kinds[gpu] for gpu in gpus}) > 1:
                continue
            alike = tuple(sorted(self._state(gpu) for gpu in gpus))
            if alike not in seen:
                seen.add(alike)
                yield tuple(sorted(gpus))

    def _fits(self, item: Item, gpu: int) -> bool:
        return not self._closed[gpu] and not (item.whole and self._users[gpu]) and item.needs[gpu] <= self._left[gpu]

    def _state(self, gpu: int) -> _State:
        """Return what makes a GPU different from another: what is left, its users, what each item needs there."""
        wishes = tuple((item.needs[gpu], item.kinds[gpu] if item.kinds else 0) for item in self._items)
        return self._left[gpu], self._users[gpu], wishes
