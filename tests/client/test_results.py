"""The results file: any answer can be read back."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.client.samples import outcome
from tritonfleet.client.results import (
    SEPARATOR,
    Record,
    check_writable,
    format_results,
    parse_results,
    to_record,
    write_results,
)
from tritonfleet.errors import ConnectionLost, UsageError

#: Text that likes to look like the format itself.
tricky = st.lists(
    st.sampled_from(
        [SEPARATOR, "\\", "\n", "\n\n", "Response: ", "Error: x", "Prompt: y", "Tokens: 3", "한국어", "🙂", "\r"]
    )
).map("".join)
answers = st.one_of(st.text(), tricky)
one_line = answers.map(lambda text: text.replace("\n", " "))
records = st.builds(
    Record,
    prompt=one_line,
    seconds=st.from_regex(r"[0-9]{1,3}\.[0-9]{1,6}", fullmatch=True),
    tokens=st.none() | st.integers(0, 10**6),
    response=answers,
    error=st.none() | one_line,
)


@given(st.lists(records, max_size=4))
@example([Record("p", "1.0", 3, f"{SEPARATOR}\n\nPrompt: x")])
@example([Record("p", "1.0", 3, f"a\n\\{SEPARATOR}"), Record("p", "1.0", 3, "\n")])
def test_round_trip(written: list[Record]) -> None:
    """Whatever a model answers, the file gives it back, the separator inside an answer included."""
    assert parse_results(format_results(written)) == written


@given(st.lists(records, max_size=4))
def test_separator_lines_are_the_records(written: list[Record]) -> None:
    """Counting lines that are exactly the separator counts the records, for those who use grep."""
    assert format_results(written).split("\n").count(SEPARATOR) == len(written)


def test_format() -> None:
    """The layout is that of the AI-on-EKS blueprint's client."""
    text = format_results([to_record(outcome(3, "What?", "An answer.", seconds=0.8344, tokens=57))])
    assert text == ("Prompt: What?\nResponse Time: 0.834 seconds\nTokens: 57\nResponse: An answer.\n=========\n\n")


def test_failed_request() -> None:
    """A failed request keeps its reason, on one line, and what had come."""
    record = to_record(outcome(0, "What?", "An", error=ConnectionLost("the server\nwent away")))
    assert record.error == "the server went away"
    assert record.response == "An"
    assert parse_results(format_results([record])) == [record]


def test_written_in_order_as_utf8(tmp_path: Path) -> None:
    """Records are in the order of the requests, not of the answers; bytes are UTF-8 with plain line feeds."""
    path = tmp_path / "results.txt"
    write_results(path, [outcome(2, "나", "🙂\r\n"), outcome(1, "가", "b")])
    text = path.read_bytes().decode("utf-8")
    assert [record.prompt for record in parse_results(text)] == ["가", "나"]
    assert parse_results(text)[1].response == "🙂\r\n"


@pytest.mark.parametrize("text", ["Prompt: x", "Prompt: x\n=========\n\n", "\n=========\n\n"])
def test_not_a_results_file(text: str) -> None:
    """A file of another form is refused."""
    with pytest.raises(UsageError, match="results: "):
        parse_results(text)


def test_not_writable(tmp_path: Path) -> None:
    """A path that cannot be written is refused with the option to change."""
    path = tmp_path / "missing" / "results.txt"
    with pytest.raises(UsageError, match=r"results file .*missing.*--results-file"):
        check_writable(path)
    with pytest.raises(UsageError, match=r"results file .*missing.*--results-file"):
        write_results(path, [])


def test_check_keeps_the_old_results(tmp_path: Path) -> None:
    """Checking that a file can be written does not empty it."""
    path = tmp_path / "results.txt"
    path.write_text("old")
    check_writable(path)
    assert path.read_text() == "old"
