"""Server-sent events, however the network cuts them."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from tritonfleet.client.events import EventSplitter


@given(st.lists(st.text(max_size=20), max_size=10), st.lists(st.integers(0, 400), max_size=20))
def test_cuts_do_not_matter(texts: list[str], cuts: list[int]) -> None:
    """Events come out whole, in order, once, wherever the bytes were cut."""
    stream = "".join(f"data: {json.dumps(text, ensure_ascii=False)}\n\n" for text in texts).encode()
    splitter = EventSplitter()
    found = []
    start = 0
    for end in [*sorted(cuts), len(stream)]:
        found += splitter.feed(stream[start:end])
        start = max(start, min(end, len(stream)))
    assert [json.loads(event) for event in found] == texts
    assert splitter.complete


def test_cut_off_event() -> None:
    """A stream that ends inside an event is not complete, and the part is not given out."""
    splitter = EventSplitter()
    assert splitter.feed(b'data: {"a": 1}\n\ndata: {"b"') == [b'{"a": 1}']
    assert not splitter.complete


def test_windows_line_ends_and_comments() -> None:
    """Line ends may be CRLF, and lines that are no data are left out."""
    assert EventSplitter().feed(b": ping\r\nevent: x\r\ndata: 1\r\n\r\n") == [b"1"]
