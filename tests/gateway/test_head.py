"""Reading a body's head, whatever the body is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tritonfleet.gateway.head import conversation, field, model_of, read_head, with_fields
from tritonfleet.gateway.problem import Problem

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
BODY = st.dictionaries(TEXT | st.sampled_from(["messages", "prompt", "stream", "system", "input"]), VALUE, max_size=6)


@given(BODY, TEXT, st.booleans(), st.sampled_from([None, 2]))
def test_the_model_is_found_in_any_body(body: dict[str, Any], model: str, ascii_only: bool, indent: int | None) -> None:
    raw = json.dumps({**body, "model": model}, ensure_ascii=ascii_only, indent=indent).encode()
    assert model_of(read_head(raw)) == model


@given(BODY, TEXT, TEXT)
def test_a_changed_field_leaves_all_others_as_they_were(body: dict[str, Any], model: str, other: str) -> None:
    raw = json.dumps({**body, "model": model}).encode()
    changed = with_fields(raw, {"model": other})
    assert json.loads(changed) == {**body, "model": other}
    assert field(changed, "model") == other


@given(st.binary(max_size=60))
def test_any_bytes_are_a_head_or_a_problem(raw: bytes) -> None:
    try:
        model_of(read_head(raw))
    except Problem as problem:
        assert problem.status == 400  # noqa: PT017 - either outcome is right


def test_numbers_keep_their_digits() -> None:
    raw = b'{"model":"a","seed":12345678901234567890123,"temperature":0.10}'
    assert with_fields(raw, {"model": "b"}) == b'{"model":"b","seed":12345678901234567890123,"temperature":0.10}'


def chat(*texts: str, system: str = "be brief") -> bytes:
    messages = [{"role": "system", "content": system}]
    messages += [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)]
    return json.dumps({"model": "m", "messages": messages}).encode()


def key(raw: bytes, name: str = "m") -> bytes | None:
    return conversation(read_head(raw), name)


def test_the_turns_of_a_conversation_share_a_key() -> None:
    assert key(chat("hello")) == key(chat("hello", "hi", "and now?")) != key(chat("good day"))


def test_the_system_prompt_and_the_adapter_belong_to_the_key() -> None:
    assert key(chat("hello")) != key(chat("hello", system="be long"))
    assert key(chat("hello")) != key(chat("hello"), "m:adapter")


def test_a_growing_prompt_keeps_its_key() -> None:
    start = "word " * 200
    assert key(json.dumps({"prompt": start}).encode()) == key(json.dumps({"prompt": start + "more"}).encode())


def test_a_cache_key_of_the_client_wins() -> None:
    one, two = json.loads(chat("a")), json.loads(chat("b"))
    keyed = [json.dumps({**body, "prompt_cache_key": "x"}).encode() for body in (one, two)]
    assert key(keyed[0]) == key(keyed[1]) is not None


@pytest.mark.parametrize("raw", [b"{}", b'{"tokens":[1,2]}'])
def test_nothing_to_tell_a_conversation_by(raw: bytes) -> None:
    assert key(raw) is None


@pytest.mark.parametrize("raw", [b'{"messages":[1,"a"]}', b'{"messages":{"a":1}}', b'{"messages":[{"content":[]}]}'])
def test_odd_messages_are_left_to_the_engine(raw: bytes) -> None:
    assert key(raw) is not None


@pytest.mark.parametrize(("raw", "streams"), [(b"true", True), (b"false", False), (b'"true"', True), (b"null", False)])
def test_streams(raw: bytes, streams: bool) -> None:
    assert read_head(b'{"stream": ' + raw + b"}").streams is streams
