"""The spec's values: defaults, round trip, and the rules between keys."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from pydantic import ValidationError

from tests.spec.strategies import fleets
from tritonfleet.spec import FleetSpec, check_source, parse_spec

SMALLEST = "models:\n- {name: a, source: ./x}"


def test_every_default_is_pinned() -> None:
    """Changing one of these changes fleets that are running; do it on purpose."""
    assert parse_spec(SMALLEST).model_dump() == {
        "name": "fleet",
        "models": (
            {
                "name": "a",
                "source": "./x",
                "engine": "vllm",
                "devices": "auto",
                "tensor_parallel": 1,
                "pipeline_parallel": 1,
                "dtype": "auto",
                "max_model_len": None,
                "engine_args": {},
                "env": {},
                "lora": {},
                "replicas": 1,
                "bridge_instances": 1,
                "load": True,
                "share": None,
                "pool": None,
                "keep_warm": False,
                "priority": 0,
                "scaling": None,
            },
        ),
        "doors": {
            "http": {"host": "127.0.0.1", "port": 8000},
            "grpc": {"host": "127.0.0.1", "port": 8001},
            "metrics": {"host": "127.0.0.1", "port": 8002},
            "openai": {"host": "127.0.0.1", "port": 9000},
        },
        "runtimes": {
            "triton": "auto",
            "vllm": "auto",
            "tensorrt_llm": "auto",
            "sglang": "auto",
            "llamacpp": "auto",
        },
        "repository": {"include": (), "load": "all", "api": "open"},
        "gateway": {
            "workers": "auto",
            "keys": "auto",
            "max_running": 1024,
            "max_waiting": 1024,
            "max_wait_seconds": 60.0,
            "hold_seconds": 0.0,
            "max_body_bytes": 64 * 2**20,
            "max_held_bytes": 2**30,
            "header_seconds": 15.0,
            "idle_seconds": 75.0,
            "stall_seconds": 120.0,
            "engine_silence_seconds": 600.0,
        },
        "share": {},
        "tracing": None,
        "observability": {"runbook_url": None},
        "lifecycle": {
            "start_seconds": 900.0,
            "drain_seconds": 60.0,
            "stop_seconds": 15.0,
            "max_restarts": 5,
            "restart_window_seconds": 600.0,
            "backoff_seconds": 1.0,
            "backoff_max_seconds": 30.0,
            "probe_seconds": 2.0,
            "probe_failures": 15,
        },
    }


def _as_yaml(value: Any) -> Any:
    """Return *value* with lists for tuples."""
    if isinstance(value, dict):
        return {key: _as_yaml(entry) for key, entry in value.items()}
    return [_as_yaml(entry) for entry in value] if isinstance(value, list | tuple) else value


@settings(max_examples=30)
@given(fleets())
def test_a_spec_survives_the_way_to_yaml_and_back(fleet: dict[str, Any]) -> None:
    """What is read, written again and read again is the same spec."""
    spec = parse_spec(yaml.safe_dump(fleet, allow_unicode=True))
    again = parse_spec(yaml.safe_dump(_as_yaml(spec.model_dump(exclude_none=True)), allow_unicode=True))
    assert again == spec


def test_one_gpu_number_is_a_list_of_one() -> None:
    """devices: 2 is devices: [2]."""
    assert parse_spec("models:\n- {name: a, source: ./x, devices: 2}").models[0].devices == (2,)


def test_a_spec_cannot_be_changed() -> None:
    """It is read once and passed on."""
    spec = parse_spec(SMALLEST)
    with pytest.raises(ValidationError, match="frozen"):
        spec.name = "other"  # type: ignore[misc]


def test_models_are_found_by_name() -> None:
    """None for a name that is not there."""
    spec = parse_spec(SMALLEST)
    assert spec.model("a") is spec.models[0]
    assert spec.model("b") is None


def test_a_fleet_may_live_from_included_repositories_alone() -> None:
    """Models are optional then."""
    spec = parse_spec("repository: {include: [./repo], load: [a]}")
    assert spec.repository.include == ("./repo",)
    assert spec.repository.load == ("a",)
    assert spec.models == FleetSpec.model_fields["models"].default


@pytest.mark.parametrize(
    "source",
    ["./x", "x", "/x", "~", "hf://a/b", "hf://a/b@main", "hf://a/b@refs/pr/1", "hf://a/b/c.gguf", "hf://a/b/c.gguf@v1",
     "s3://b", "s3://b/p", "s3://http://h:1/b/p", "gs://b/p", "az://c/p", "demo://llama2"],
)  # fmt: skip
def test_forms_of_a_source(source: str) -> None:
    """Each is taken as it is."""
    assert check_source(source) == source


@pytest.mark.parametrize("source", ["", "  ", "http://x/y", "hf://a", "hf://a/b/c", "hf://a/b@", "s3://", "demo:///"])
def test_other_forms_are_refused(source: str) -> None:
    """With a ValueError, which the reader turns into a SpecError."""
    with pytest.raises(ValueError, match=r"source|form|nothing"):
        check_source(source)
