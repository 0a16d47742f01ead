"""Traces: made with a seed, written, read, and refused where they are wrong."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tritonfleet.errors import UsageError
from tritonfleet.simulate.trace import Request, Shape, arrivals_by_model, generate, models_of, read_trace, trace_text

SHAPE = Shape(("a", "b", "c"), seconds=400, rate=5, shift_seconds=100)


def test_the_same_seed_makes_the_same_trace() -> None:
    """And another one another."""
    assert generate(SHAPE, 1) == generate(SHAPE, 1)
    assert generate(SHAPE, 1) != generate(SHAPE, 2)


def test_arrivals_are_poisson_and_the_favourite_moves_on() -> None:
    """The rate over all, and the favourite's part in each stretch."""
    trace = generate(SHAPE, 7)
    assert len(trace) == pytest.approx(2000, rel=0.1)
    gaps = [b.arrival_seconds - a.arrival_seconds for a, b in pairwise(trace)]
    mean = sum(gaps) / len(gaps)
    assert sum((gap - mean) ** 2 for gap in gaps) / len(gaps) == pytest.approx(mean**2, rel=0.25)
    for stretch, favourite in enumerate("abca"):
        part = [each for each in trace if stretch * 100 <= each.arrival_seconds < stretch * 100 + 100]
        assert arrivals_by_model(part)[favourite] / len(part) == pytest.approx(0.7, abs=0.1)
    assert all(128 <= each.prompt_tokens <= 384 for each in trace)


@given(st.integers(0, 2**32), st.integers(1, 4))
def test_what_is_written_is_read_again(tmp_path_factory: pytest.TempPathFactory, seed: int, models: int) -> None:
    """Every request, in the order of arrival."""
    trace = generate(Shape(tuple("abcd"[:models]), seconds=10, rate=2), seed)
    path = tmp_path_factory.mktemp("trace") / "t.jsonl"
    path.write_text(trace_text(trace) + "\n")
    if trace:
        assert read_trace(path) == trace


def test_requests_are_put_in_order(tmp_path: Path) -> None:
    """A log may hold them as they ended."""
    path = tmp_path / "t.jsonl"
    path.write_text(trace_text([Request(2.0, "a", 1, 1), Request(1.0, "b", 1, 1)]))
    assert models_of(read_trace(path)) == ("b", "a")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "holds no request"),
        ("hello", r"t\.jsonl:1: this is not JSON"),
        ("[1]", "no JSON object"),
        ('{"arrival_seconds": 1, "model": "a", "prompt_tokens": 3}', "output_tokens is missing"),
        ('{"arrival_seconds": -1, "model": "a", "prompt_tokens": 3, "output_tokens": 1}', "arrival_seconds is -1"),
        ('{"arrival_seconds": NaN, "model": "a", "prompt_tokens": 3, "output_tokens": 1}', "arrival_seconds is nan"),
        ('{"arrival_seconds": 1, "model": "", "prompt_tokens": 3, "output_tokens": 1}', "model is ''"),
        ('{"arrival_seconds": 1, "model": "a", "prompt_tokens": 0, "output_tokens": 1}', "prompt_tokens is 0"),
        ('{"arrival_seconds": 1, "model": "a", "prompt_tokens": 1, "output_tokens": true}', "output_tokens is True"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    """File, line, key and value."""
    path = tmp_path / "t.jsonl"
    path.write_text(line)
    with pytest.raises(UsageError, match=message):
        read_trace(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """With the reason."""
    with pytest.raises(UsageError, match="cannot be read"):
        read_trace(tmp_path / "none.jsonl")


@pytest.mark.parametrize("wrong", [{"rate": 0}, {"seconds": -1}, {"favourite": 1.5}, {"spread": -0.1}, {"models": ()}])
def test_a_shape_that_is_none(wrong: dict[str, float]) -> None:
    """Named with its value."""
    with pytest.raises(UsageError, match=r"write|name"):
        generate(Shape(**{"models": ("a",), **wrong}), 1)  # type: ignore[arg-type]
