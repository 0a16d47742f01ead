"""What each process is told of the collector, and that nothing is told where traces are off."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tritonfleet.errors import SpecError, UsageError
from tritonfleet.spec import FleetSpec, parse_spec
from tritonfleet.tracing import settings
from tritonfleet.tracing.settings import bridge_environment, check_installed, traced, triton_settings
from tritonfleet.wire import TRACING_VARIABLE

MODELS = "name: demo\nmodels:\n- {name: a, source: ./x%s}\n"
ON = "tracing: {endpoint: 'http://collector:4318'%s}\n"


def spec(model: str = "", tracing: str | None = "") -> FleetSpec:
    return parse_spec(MODELS % model + (ON % tracing if tracing is not None else ""))


def test_nobody_is_told_anything_where_it_is_off() -> None:
    off = spec(tracing=None)
    assert triton_settings(off) == ()
    assert bridge_environment(off) == {}
    assert traced(off.models[0], off) is off.models[0]


def test_opentelemetry_is_not_imported_where_it_is_off() -> None:
    code = (
        "import sys, tritonfleet.gateway.app, tritonfleet.tracing.settings;"
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_triton_takes_one_request_in_so_many() -> None:
    found = triton_settings(spec(tracing=", sample_ratio: 0.05"))
    assert {"mode=opentelemetry", "opentelemetry,url=http://collector:4318/v1/traces", "rate=20"} <= set(found)


def test_the_bridge_is_told_by_its_environment() -> None:
    told = json.loads(bridge_environment(spec())[TRACING_VARIABLE])
    assert told == {"url": "http://collector:4318/v1/traces", "service": "tritonfleet-bridge", "fleet": "demo"}


def test_vllm_sends_its_spans_to_the_same_collector() -> None:
    on = spec()
    model = traced(on.models[0], on)
    assert model.engine_args == {"otlp_traces_endpoint": "http://collector:4318/v1/traces"}
    assert model.env == {
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
        "OTEL_SERVICE_NAME": "vllm",
        "OTEL_RESOURCE_ATTRIBUTES": "tritonfleet.fleet=demo,tritonfleet.model=a",
    }


@pytest.mark.parametrize(
    "model",
    [", engine: llamacpp", ", engine: fake", ", engine_args: {otlp-traces-endpoint: 'grpc://mine:4317'}"],
)
def test_other_engines_and_own_choices_are_left_alone(model: str) -> None:
    on = spec(model)
    assert traced(on.models[0], on) is on.models[0]


def test_what_the_spec_says_of_the_environment_wins() -> None:
    on = spec(", env: {OTEL_SERVICE_NAME: mine}")
    assert traced(on.models[0], on).env["OTEL_SERVICE_NAME"] == "mine"


@pytest.mark.parametrize("endpoint", ["collector:4318", "http://collector:4318/v1/traces", "http://a b"])
def test_a_wrong_endpoint_is_refused(endpoint: str) -> None:
    with pytest.raises(SpecError, match="endpoint"):
        parse_spec(MODELS % "" + f"tracing: {{endpoint: '{endpoint}'}}\n")


def test_a_missing_library_is_said_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "find_spec", lambda _: None)
    check_installed(spec(tracing=None))
    with pytest.raises(UsageError, match=r"pip install 'tritonfleet\[otel\]'"):
        check_installed(spec())
