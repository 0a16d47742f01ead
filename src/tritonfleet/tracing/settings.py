"""What Triton, the bridge and the engines are told so that one trace goes from door to engine. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping

from tritonfleet.spec.models import FleetSpec, ModelSpec, TracingSpec
from tritonfleet.wire import TRACING_VARIABLE

#: Names in the traces.
GATEWAY_SERVICE, TRITON_SERVICE, BRIDGE_SERVICE = "tritonfleet-gateway", "triton", "tritonfleet-bridge"


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
    """Return *model* with what makes its engine send spans; only vLLM is told, and what the spec says wins.

    vLLM's environment needs OpenTelemetry, as the ones built here and vLLM's own packages have it.
    """
    if spec.tracing is None or model.engine != "vllm":
        return model
    arguments = {"otlp_traces_endpoint": traces_url(spec.tracing)}
    env = {
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
        "OTEL_SERVICE_NAME": model.engine,
        "OTEL_RESOURCE_ATTRIBUTES": f"tritonfleet.fleet={spec.name},tritonfleet.model={model.name}",
    }
    given = {name.replace("-", "_") for name in model.engine_args}
    if "otlp_traces_endpoint" in given:
        arguments = {}
    return model.model_copy(
        update={"engine_args": {**arguments, **model.engine_args}, "env": {**env, **model.env}}
    )
