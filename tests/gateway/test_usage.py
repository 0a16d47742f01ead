"""Reading usage without changing what the client gets."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tritonfleet.gateway.head import read_head
from tritonfleet.gateway.usage import Usage, UsageTap, wants_usage

DELTA = 'data: {"choices":[{"index":0,"text":"the \\"usage\\" of é"}]}\n\n'
LAST = 'data: {"choices":[],"usage":{"prompt_tokens":7,"total_tokens":10,"completion_tokens":3}}\n\n'
DONE = "data: [DONE]\n\n"
STREAM = (DELTA * 3 + LAST + DONE).encode()


def run(raw: bytes, cuts: list[int], *, hide: bool, is_stream: bool = True) -> tuple[bytes, UsageTap]:
    tap = UsageTap(hide=hide)
    tap.begin(is_stream=is_stream)
    edges = [0, *sorted(cut % (len(raw) + 1) for cut in cuts), len(raw)]
    parts = [tap.feed(raw[start:end]) for start, end in itertools.pairwise(edges)]
    return b"".join(parts) + tap.rest(), tap


@given(st.lists(st.integers(0, 10_000), max_size=20))
def test_a_hidden_usage_event_is_taken_out_however_the_stream_is_cut(cuts: list[int]) -> None:
    passed, tap = run(STREAM, cuts, hide=True)
    assert passed == (DELTA * 3 + DONE).encode()
    assert tap.usage() == Usage(7, 3)


@given(st.lists(st.integers(0, 10_000), max_size=20))
def test_a_usage_event_that_was_asked_for_stays(cuts: list[int]) -> None:
    passed, tap = run(STREAM, cuts, hide=False)
    assert passed == STREAM
    assert tap.usage() == Usage(7, 3)


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=5), st.booleans())
def test_other_bytes_pass_as_they_are(raw: bytes, cuts: list[int], is_stream: bool) -> None:
    passed, tap = run(raw, cuts, hide=True, is_stream=is_stream)
    assert passed == raw
    assert tap.usage() is None


def test_events_of_a_windows_kind_are_understood() -> None:
    passed, tap = run(STREAM.replace(b"\n", b"\r\n"), [10, 50], hide=True)
    assert passed == (DELTA * 3 + DONE).replace("\n", "\r\n").encode()
    assert tap.usage() == Usage(7, 3)


@pytest.mark.parametrize(
    "body",
    [
        {"usage": {"prompt_tokens": 7, "completion_tokens": 3}},
        {"usage": {"input_tokens": 7, "output_tokens": 3}},
        {"response": {"usage": {"input_tokens": 7, "output_tokens": 3}}},
    ],
)
def test_a_whole_answer(body: dict[str, Any]) -> None:
    raw = json.dumps({"id": "x", **body}).encode()
    passed, tap = run(raw, [5], hide=False, is_stream=False)
    assert (passed, tap.usage()) == (raw, Usage(7, 3))


def test_anthropics_stream_counts_prompt_and_answer_in_different_events() -> None:
    first = 'event: message_start\ndata: {"message":{"usage":{"input_tokens":7,"output_tokens":0}}}\n\n'
    last = 'event: message_delta\ndata: {"usage":{"output_tokens":3}}\n\n'
    passed, tap = run((first + last).encode(), [], hide=False)
    assert (passed, tap.usage()) == ((first + last).encode(), Usage(7, 3))


def test_an_answer_that_ended_early_is_estimated() -> None:
    _, tap = run((DELTA * 5).encode(), [], hide=True)
    assert tap.usage() is None
    assert tap.estimate(body_bytes=400) == Usage(100, 5)


@pytest.mark.parametrize(
    ("path", "body", "added"),
    [
        ("/v1/completions", {"stream": True}, {"stream_options": {"include_usage": True}}),
        ("/v1/completions", {"stream": True, "stream_options": {"include_usage": True}}, {}),
        (
            "/v1/chat/completions",
            {"stream": True, "stream_options": {"a": 1}},
            {"stream_options": {"a": 1, "include_usage": True}},
        ),
        ("/v1/completions", {}, {}),
        ("/v1/messages", {"stream": True}, {}),
    ],
)
def test_what_is_added_to_the_request(path: str, body: dict[str, Any], added: dict[str, Any]) -> None:
    raw = json.dumps(body).encode()
    assert wants_usage(path, read_head(raw), raw) == added
