"""One shape for every error."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tritonfleet.gateway.problem import Problem, body, engine_error, error_type, event, is_missing_path


@given(
    st.integers(400, 599), st.binary(max_size=100) | st.text(max_size=50).map(lambda text: json.dumps(text).encode())
)
def test_any_error_body_of_an_engine_becomes_openais(status: int, raw: bytes) -> None:
    error = engine_error(status, raw)
    assert error["src"] == "engine"
    assert error["message"]
    assert json.loads(body(error))["error"].keys() >= {"message", "type", "param", "code", "src"}


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b'{"error": {"message": "too long", "type": "BadRequestError", "param": "x", "code": 400}}', "too long"),
        (b'{"object": "error", "message": "too long", "type": "t", "code": 40303}', "too long"),
        (b'{"type": "error", "error": {"type": "t", "message": "too long"}}', "too long"),
        (b'{"error": "too long"}', "too long"),
        (b'{"detail": "too long"}', "too long"),
        (b'{"detail": [{"msg": "too long"}]}', '[{"msg":"too long"}]'),
        (b"too long", "too long"),
        (b"", "Bad Request"),
    ],
)
def test_the_words_of_each_engine_are_kept(raw: bytes, message: str) -> None:
    assert engine_error(400, raw)["message"] == message


def test_a_problem_says_who_when_and_what() -> None:
    problem = Problem(429, "overloaded", "busy", retry_after_seconds=0.2)
    assert problem.headers == {"retry-after": "1"}
    assert problem.error == {
        "message": "busy",
        "type": "rate_limit_error",
        "param": None,
        "code": "overloaded",
        "src": "gateway",
    }
    assert event(problem.error).startswith(b'event: error\ndata: {"type":"error"')
    assert event(problem.error).endswith(b"}\n\n")


@pytest.mark.parametrize(
    ("status", "kind"), [(404, "not_found_error"), (418, "invalid_request_error"), (599, "server_error")]
)
def test_types(status: int, kind: str) -> None:
    assert error_type(status) == kind


@pytest.mark.parametrize(
    ("status", "message", "missing"),
    [
        (404, "Not Found", True),
        (404, "404: Not Found", True),
        (404, "File Not Found", True),
        (405, "Method Not Allowed", True),
        (404, "The model `x` does not exist.", False),
        (400, "Not Found", False),
    ],
)
def test_a_missing_path_is_told_from_a_missing_model(status: int, message: str, missing: bool) -> None:
    assert is_missing_path(status, message) is missing
