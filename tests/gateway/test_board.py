"""Counts that several workers share."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tritonfleet.gateway.board import Board

MINUTE = 29_700_000


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Board, Board]:
    """Two workers' views of one board."""
    path = tmp_path / "board"
    Board.create(path, 2)
    return Board(path, 2, 0), Board(path, 2, 1)


def test_workers_see_the_sum(pair: tuple[Board, Board]) -> None:
    one, two = pair
    one.add(one.row("outstanding e0"), 3)
    two.add(two.row("outstanding e0"), 4)
    two.add(two.row("outstanding e1"), 9)
    one.add(one.row("outstanding e0"), -1)
    assert (one.total(one.row("outstanding e0")), two.total(two.row("outstanding e0"))) == (6, 6)
    assert one.total(one.row("outstanding e1")) == 9


def test_a_dead_workers_counts_are_forgotten(pair: tuple[Board, Board]) -> None:
    one, two = pair
    row = one.row("outstanding e0")
    one.add(row, 3)
    two.add(row, 4)
    two.forget(0)
    assert one.total(row) == 4


def test_a_minute_counts_only_its_own(pair: tuple[Board, Board]) -> None:
    one, two = pair
    row = one.row("tokens k")
    one.add_in_minute(row, MINUTE, 100)
    two.add_in_minute(row, MINUTE, 20)
    one.add_in_minute(row, MINUTE, 3)
    assert two.total_in_minute(row, MINUTE) == 123
    two.add_in_minute(row, MINUTE + 2, 7)
    assert (one.total_in_minute(row, MINUTE + 2), one.total_in_minute(row, MINUTE)) == (7, 103)


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(-5, 5)), max_size=30))
def test_rows_do_not_mix(changes: list[tuple[str, int]]) -> None:
    board = Board(None)
    expected: dict[str, int] = {}
    for name, amount in changes:
        board.add(board.row(name), amount)
        expected[name] = expected.get(name, 0) + amount
    assert {name: board.total(board.row(name)) for name in expected} == expected
    board.close()
