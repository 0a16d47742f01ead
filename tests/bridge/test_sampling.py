"""Sampling parameters: every kind in every spelling, unknown names, and what older clients write."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tritonfleet.bridge.failure import InvalidRequest
from tritonfleet.bridge.sampling import read_bool, read_sampling


def read(values: dict[str, Any], engine: str = "vllm") -> dict[str, Any]:
    """Read *values* as the sampling_parameters tensor of a vLLM model."""
    return read_sampling(values, engine=engine, where="sampling_parameters")


@given(st.integers(-(2**63), 2**63 - 1))
def test_integers_survive_as_text(value: int) -> None:
    """A seed of 19 digits keeps its last one."""
    assert read({"seed": str(value)}) == read({"seed": value}) == {"seed": value}


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_survive_as_text(value: float) -> None:
    """A number written as text is the same number."""
    assert read({"temperature": repr(value)}) == {"temperature": value}


@given(
    st.sampled_from(["true", "True", " TRUE ", "1", "yes", "on"]), st.sampled_from(["false", "False", "0", "no", "off"])
)
def test_truth_as_text(yes: str, no: str) -> None:
    """The text `false` is false."""
    assert read_bool(yes) is True
    assert read_bool(no) is False
    assert read({"ignore_eos": no}) == {"ignore_eos": False}


@given(st.lists(st.text(min_size=1)))
def test_lists_survive_as_json_text(value: list[str]) -> None:
    """Request parameters carry lists as JSON text."""
    assert read({"stop": json.dumps(value)}) == {"stop": value}


def test_a_single_stop_is_a_list_of_one() -> None:
    """One stop text is taken as it is, a bracket included."""
    assert read({"stop": "\n"}) == {"stop": ["\n"]}
    assert read({"stop": "[not json"}) == {"stop": ["[not json"]}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("top_k", "20", 20),
        ("max_tokens", "512", 512),
        ("max_tokens", 512.0, 512),
        ("max_tokens", "1e2", 100),
        ("n", "2", 2),
        ("stop_token_ids", "[1, 2]", [1, 2]),
        ("stop_token_ids", ["1", 2], [1, 2]),
        ("logit_bias", '{"5": 1.5}', {"5": 1.5}),
        ("structured_outputs", '{"choice": ["a", "b"]}', {"choice": ["a", "b"]}),
        ("lora_name", "doll", "doll"),
    ],
)
def test_values_are_read_as_their_kind(name: str, value: object, expected: object) -> None:
    """Text and numbers mean the same."""
    assert read({name: value}) == {name: expected}


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("temperature", "hot", "must be a number, got 'hot'"),
        ("temperature", True, "must be a number, got True"),
        ("temperature", "nan", "must be a finite number"),
        ("temperature", None.__class__, "must be a number"),
        ("max_tokens", 1.5, "must be an integer, got 1.5"),
        ("max_tokens", "many", "must be an integer, got 'many'"),
        ("max_tokens", True, "must be an integer"),
        ("max_tokens", "1e400", "must be an integer"),
        ("ignore_eos", "maybe", "must be true or false, got 'maybe'"),
        ("ignore_eos", 0.5, "must be true or false"),
        ("stop", [1], "must be a text or a list of texts"),
        ("stop_token_ids", "x", "must be a list of integers"),
        ("logit_bias", "[]", "must be a JSON object"),
        ("lora_name", 5, "must be a text"),
    ],
)
def test_wrong_values_are_named(name: str, value: object, what: str) -> None:
    """The message names the key, the value and what it should be."""
    with pytest.raises(InvalidRequest) as caught:
        read({name: value})
    assert str(caught.value).startswith(f"sampling_parameters: `{name}` {what}")


def test_unknown_names_come_with_the_near_one() -> None:
    """A misspelt name is answered with the right one."""
    with pytest.raises(InvalidRequest, match=r"unknown sampling parameter `temprature`; did you mean `temperature`?"):
        read({"temprature": 1})
    with pytest.raises(InvalidRequest, match=r"`stream` is not a sampling parameter; use the `stream` tensor"):
        read({"stream": True})
    with pytest.raises(InvalidRequest, match=r"unknown sampling parameter `zzz`; see docs/kserve.md"):
        read({"zzz": 1})


def test_null_means_not_set() -> None:
    """A null is as good as nothing, but an unknown name stays unknown."""
    assert read({"seed": None, "max_tokens": None}) == {}
    with pytest.raises(InvalidRequest):
        read({"sed": None})


def test_names_of_other_engines() -> None:
    """Each engine has its own further names."""
    assert read({"ebnf": "root ::= x"}, engine="sglang") == {"ebnf": "root ::= x"}
    with pytest.raises(InvalidRequest):
        read({"ebnf": "root ::= x"}, engine="vllm")


def test_guided_decoding_becomes_structured_outputs() -> None:
    """The names that vLLM dropped still work."""
    assert read({"guided_choice": '["a", "b"]'}) == {"structured_outputs": {"choice": ["a", "b"]}}
    assert read({"guided_decoding": '{"regex": "a+", "backend": "x"}'}) == {"structured_outputs": {"regex": "a+"}}
    with pytest.raises(InvalidRequest, match="not both"):
        read({"guided_regex": "a", "structured_outputs": {"regex": "b"}})


def test_best_of_is_refused_unless_it_changes_nothing() -> None:
    """vLLM has no best_of any more."""
    assert read({"best_of": "2", "n": 2}) == {"n": 2}
    assert read({"best_of": 1}) == {}
    with pytest.raises(InvalidRequest, match="no longer supported"):
        read({"best_of": 3})


def test_extra_args_are_vllm_xargs() -> None:
    """SamplingParams calls extra_args what the HTTP API calls vllm_xargs."""
    assert read({"extra_args": {"a": 1}, "vllm_xargs": {"b": 2}}) == {"vllm_xargs": {"a": 1, "b": 2}}


@given(
    st.dictionaries(
        st.sampled_from(["temperature", "n", "stop", "ignore_eos", "logit_bias", "typo"]),
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text()
        | st.lists(st.text() | st.integers(), max_size=3),
        max_size=4,
    )
)
def test_any_json_is_read_or_refused(values: dict[str, Any]) -> None:
    """Whatever the values are, the answer is a dictionary or InvalidRequest."""
    try:
        result = read(values)
    except InvalidRequest:
        return
    json.dumps(result)
    assert set(result) <= set(values)
