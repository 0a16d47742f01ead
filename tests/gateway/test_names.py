"""What a name means."""

from __future__ import annotations

import pytest

from tritonfleet.gateway.names import Names
from tritonfleet.gateway.problem import Problem
from tritonfleet.wire import Endpoint, Route

READY = (Endpoint(uds="/e0.sock"),)


def route(model: str, *loras: str, endpoints: tuple[Endpoint, ...] = READY) -> Route:
    return Route(model, "vllm", model, endpoints, loras=loras)


def test_an_adapter_of_two_models_needs_its_full_name() -> None:
    names = Names([route("a", "x"), route("b", "x", "y")])
    assert names.find("b:x").route.model == "b"
    assert names.find("y").engine_name == "y"
    with pytest.raises(Problem, match="write a:x or b:x") as caught:
        names.find("x")
    assert caught.value.status == 404
    assert list(names.listed()) == ["a", "a:x", "b", "b:x", "b:y", "y"]


def test_a_models_name_wins_over_an_adapters() -> None:
    names = Names([route("a", "b"), route("b")])
    assert not names.find("b").adapter
    assert names.find("a:b").adapter


def test_a_key_for_a_model_reaches_its_adapters_but_not_the_other_way() -> None:
    names = Names([route("a", "x")])
    assert names.find("x", frozenset({"a"})).adapter
    assert list(names.listed(frozenset({"a:x"}))) == ["a:x"]
    assert list(names.listed(frozenset({"x"}))) == ["a:x", "x"]
    with pytest.raises(Problem, match="it may use: x") as caught:
        names.find("a", frozenset({"x"}))
    assert caught.value.status == 403


def test_an_empty_fleet() -> None:
    with pytest.raises(Problem, match="the fleet has: none"):
        Names().find("a")
    assert "none yet" in str(Names().missing(None))
