"""What Triton, the bridge and the engines are told so that one trace goes from door to engine. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.util import find_spec

from tritonfleet.errors import UsageError
from tritonfleet.spec.models import FleetSpec, ModelSpec, TracingSpec
from tritonfleet.wire import TRACING_VARIABLE

#: Names in the traces.
GATEWAY_SERVICE, TRITON_SERVICE, BRIDGE_SERVICE = "tritonfleet-gateway", "triton", "tritonfleet-bridge"
NOT_INSTALLED = (
    "tracing needs OpenTelemetry, which is not installed; pip install 'tritonfleet[otel]', or remove tracing"
)


def traces_url(tracing: TracingSpec) -> str:
    """Return where OTLP over HTTP takes spans."""
    return f"{tracing.endpoint.rstrip('/')}/v1/traces"


def triton_settings(spec: FleetSpec) -> tuple[str, ...]:
    """Return the values of tritonserver's --trace-config: it takes a client's traceparent at all of its doors."""
    tracing = spec.tracing
    if tracing is None:
        return ()
    return (
        "mode=opentelemetry",
        f"opentelemetry,url={traces_url(tracing)}",
        f"opentelemetry,resource=service.name={TRITON_SERVICE}",
        f"opentelemetry,resource=tritonfleet.fleet={spec.name}",
        "level=TIMESTAMPS",
        f"rate={max(1, round(1 / tracing.sample_ratio))}",  # one in so many
        "count=-1",
    )


def bridge_environment(spec: FleetSpec) -> Mapping[str, str]:
    """Return the environment variables that tell the bridge."""
    if spec.tracing is None:
        return {}
    told = {"url": traces_url(spec.tracing), "service": BRIDGE_SERVICE, "fleet": spec.name}
    return {TRACING_VARIABLE: json.dumps(told)}


def traced(model: ModelSpec, spec: FleetSpec) -> ModelSpec:
    """Return *model* with what makes its engine send spans; only vLLM is told, unless the spec tells it otherwise.

    vLLM's environment needs OpenTelemetry, as the ones built here and vLLM's own packages have it.
    """
    given = {name.lstrip("-").replace("-", "_") for name in model.engine_args}
    if spec.tracing is None or model.engine != "vllm" or "otlp_traces_endpoint" in given:
        return model
    env = {
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
        "OTEL_SERVICE_NAME": model.engine,
        "OTEL_RESOURCE_ATTRIBUTES": f"tritonfleet.fleet={spec.name},tritonfleet.model={model.name}",
    }
    arguments = {"otlp_traces_endpoint": traces_url(spec.tracing), **model.engine_args}
    return model.model_copy(update={"engine_args": arguments, "env": {**env, **model.env}})


def check_installed(spec: FleetSpec) -> None:
    """Raise UsageError where the spec asks for traces and OpenTelemetry is not there, before anything starts."""
    if spec.tracing is not None and (find_spec("opentelemetry") is None or find_spec("opentelemetry.sdk") is None):
        raise UsageError(NOT_INSTALLED)
