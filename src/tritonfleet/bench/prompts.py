"""Prompts that no cache knows: pseudo-words drawn by number, or a person's own lines. Pure."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

_SYLLABLES = [consonant + vowel for consonant in "bcdfghjklmnprstvwz" for vowel in ("a", "e", "i", "o", "u", "ai")]


class Prompts(Protocol):
    """Gives each request its prompt; every process that has a copy gives the same one."""

    def text(self, number: int) -> str:
        """Return the prompt of request *number*."""
        ...


@dataclass(frozen=True)
class Synthetic:
    """Prompts of pseudo-words, each different from its first word on, so that no prefix is found in a cache."""

    words: int
    """Words of each prompt."""
    seed: int = 0

    def text(self, number: int) -> str:
        """Return the prompt of request *number*."""
        # A text as seed: with numbers, neighbours would start alike.
        return " ".join(words(random.Random(f"{self.seed}/{number}"), self.words))  # noqa: S311 - load, not secrets


@dataclass(frozen=True)
class Given:
    """A person's own prompts, over and over."""

    texts: tuple[str, ...]

    def text(self, number: int) -> str:
        """Return the prompt of request *number*."""
        return self.texts[number % len(self.texts)]


def words(chance: random.Random, count: int) -> Sequence[str]:
    """Return *count* pseudo-words of two to four syllables."""
    return ["".join(chance.choices(_SYLLABLES, k=chance.choice((2, 3, 3, 4)))) for _ in range(count)]
