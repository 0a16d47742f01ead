"""Server-sent events, however they are cut."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tritonfleet.bridge import sse
from tritonfleet.bridge.failure import BridgeError

EVENTS = st.lists(st.dictionaries(st.text(max_size=5), st.text() | st.integers()), max_size=6)


def parse(stream: bytes, cuts: list[int]) -> list[bytes]:
    """Feed *stream* in pieces that end at *cuts*."""
    parser = sse.EventParser()
    ends = [*sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    found: list[bytes] = []
    start = 0
    for end in ends:
        found += parser.feed(stream[start:end])
        start = end
    return found


@given(EVENTS, st.lists(st.integers(0, 10_000), max_size=10), st.sampled_from(["\n", "\r\n"]))
def test_events_survive_any_cut(events: list[dict[str, object]], cuts: list[int], end: str) -> None:
    """The payloads come out whole and in order, text of any language included."""
    lines = [f": comment{end}id: 1{end}data: {json.dumps(event, ensure_ascii=False)}{end}{end}" for event in events]
    stream = "".join(lines).encode("utf-8", "surrogatepass") + f"data: [DONE]{end}{end}".encode()
    payloads = parse(stream, cuts)
    assert payloads[-1] == sse.DONE
    assert [json.loads(payload.decode("utf-8", "surrogatepass")) for payload in payloads[:-1]] == events


def test_an_endless_event_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is not filled with something that is no answer."""
    monkeypatch.setattr(sse, "MAX_EVENT", 100)
    parser = sse.EventParser()
    parser.feed(b"data: " + b"x" * 90)
    with pytest.raises(BridgeError, match="an event of more than"):
        parser.feed(b"x" * 20)
