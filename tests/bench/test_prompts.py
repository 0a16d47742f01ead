"""Synthetic prompts and a person's own."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from tritonfleet.bench.prompts import Given, Synthetic, words


@given(st.integers(0, 10**6), st.integers(1, 50), st.integers(0, 9))
def test_a_synthetic_prompt_has_its_words_and_is_the_same_in_every_process(number: int, count: int, seed: int) -> None:
    text = Synthetic(count, seed).text(number)
    assert len(text.split()) == count
    assert Synthetic(count, seed).text(number) == text


def test_synthetic_prompts_differ_from_their_first_words_on() -> None:
    prompts = Synthetic(200)
    beginnings = {tuple(prompts.text(number).split()[:4]) for number in range(500)}
    assert len(beginnings) == 500


def test_given_prompts_come_again_when_all_were_sent() -> None:
    assert [Given(("a", "b")).text(number) for number in range(3)] == ["a", "b", "a"]


def test_words_have_two_to_four_syllables() -> None:
    assert {len(word) for word in words(random.Random(0), 300)} <= set(range(4, 13))
