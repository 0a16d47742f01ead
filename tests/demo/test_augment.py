"""Other ways to ask a question: always a question still, and the same again for the same seed."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st


def load_augment() -> Any:
    """training/ is a folder of scripts, not a package, so its module is loaded by path."""
    path = Path(__file__).parents[2] / "training" / "augment.py"
    spec = importlib.util.spec_from_file_location("augment", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


augment = load_augment()
WORDS = st.lists(st.text("abcdefgKV-", min_size=1, max_size=8), min_size=1, max_size=12).map(" ".join)


@given(question=WORDS, seed=st.integers())
def test_the_same_seed_asks_the_same(question: str, seed: int) -> None:
    """Training is repeatable only if this is."""
    assert augment.ask_again(question, Random(seed)) == augment.ask_again(question, Random(seed))


@given(question=WORDS, seed=st.integers())
def test_a_question_never_vanishes(question: str, seed: int) -> None:
    """Something is asked, without blanks at the ends, in one line, and not much longer than before."""
    asked = augment.ask_again(question, Random(seed))
    assert asked
    assert asked == asked.strip()
    assert "\n" not in asked
    assert len(asked) <= len(question) + 100


def test_openings_keep_the_subject() -> None:
    """Most ways to ask about GQA still name it: only typing errors may break the word."""
    asked = [augment.ask_again("What is GQA?", Random(seed)).lower() for seed in range(400)]
    assert len(set(asked)) > 40
    assert sum("gqa" in question for question in asked) > 350


def test_korean_questions_keep_their_words() -> None:
    """No English phrase is put around a Korean question."""
    asked = [augment.ask_again("GAN을 설명해 주세요.", Random(seed)) for seed in range(200)]
    latin = {word for question in asked for word in question.split() if word.isascii() and word.isalpha()}
    assert {word.lower() for word in latin} <= {"gan", "gn", "ga", "an", "agn", "gna", "gaan", "gann"}


@given(seed=st.integers())
def test_invented_names_are_words(seed: int) -> None:
    """Letters only, and long enough to look like a name."""
    name = augment.invented_name(Random(seed))
    assert name.isalpha()
    assert 4 <= len(name) <= 21
