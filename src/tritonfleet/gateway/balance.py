"""Which replica gets a request: the least busy one, or the one that knows the conversation. Pure."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

#: A conversation stays with its replica while that has at most this many requests more than the least busy one ...
SLACK = 4
#: ... plus this share of the least busy one's requests.
SHARE = 0.25


def order(loads: Sequence[int], names: Sequence[str], conversation: bytes | None = None) -> list[int]:
    """Return the numbers of all replicas, in the order in which they should be asked.

    *loads* holds their requests in progress; *names* tells them apart, so that a conversation keeps its replica
    when others come and go (rendezvous hashing). Without a conversation, or once its replica is too far ahead of the
    others, the least busy comes first.
    """
    numbers = range(len(loads))
    if conversation is None or len(loads) < 2:
        return sorted(numbers, key=lambda number: loads[number])
    scores = [_score(name, conversation) for name in names]
    ranking = sorted(numbers, key=lambda number: (loads[number], -scores[number]))
    home = max(numbers, key=lambda number: scores[number])
    if loads[home] <= allowed(min(loads)):
        ranking.remove(home)
        ranking.insert(0, home)
    return ranking


def allowed(least: int) -> int:
    """Return the most requests a conversation's own replica may have when the least busy one has *least*."""
    return least + SLACK + math.floor(least * SHARE)


def _score(name: str, conversation: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), key=conversation, digest_size=8).digest(), "big")
