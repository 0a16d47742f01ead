"""Every metric of the fleet's ``/metrics``, once: docs, dashboards, rules and the code that serves them read it here.

Engines have more series than these; they pass through under their own names with the same labels added. A series that
is not known is absent from the page, never zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]
Source = Literal["engine", "gateway", "bridge", "supervisor", "share", "gpu"]
Unit = Literal[
    "", "requests", "tokens", "seconds", "ratio", "W", "mJ", "percent", "MiB", "MHz", "degrees Celsius", "0 or 1"
]

#: What each part is, in the order of the documentation.
SOURCES: Mapping[Source, str] = {
    "engine": "the engines, read by the supervisor; every engine's series under vLLM's names",
    "gateway": "the OpenAI door",
    "bridge": "the backend inside Triton; also at Triton's own metrics port",
    "supervisor": "the process that starts and watches everything",
    "share": "models that take turns on the same GPUs",
    "gpu": "NVML, under the names and labels of NVIDIA's DCGM exporter",
}

#: Added to every series of an engine. `replica` counts from 0, `engine` is the program's name in the spec, `pool` the
#: pool of nodes (the model's name where the spec names none).
ENGINE_LABELS = ("fleet", "model", "replica", "pool", "engine")
#: vLLM's own: the served name, and the index of the engine core. The index is called `engine` there.
VLLM_LABELS = (*ENGINE_LABELS, "model_name", "engine_index")
#: The DCGM exporter's labels, beside the fleet's name.
GPU_LABELS = ("fleet", "gpu", "UUID", "device", "modelName", "Hostname")


@dataclass(frozen=True)
class Metric:
    """One metric of the page."""

    name: str
    """As exposed, a counter with its ``_total``, a histogram without ``_bucket``, ``_sum`` and ``_count``."""
    kind: Kind
    labels: tuple[str, ...]
    """Without a histogram's ``le``."""
    unit: Unit
    help: str
    """What it means, in one line."""
    source: Source

    @property
    def series(self) -> tuple[str, ...]:
        """Names that a query can use."""
        return (
            tuple(f"{self.name}{end}" for end in ("_bucket", "_sum", "_count"))
            if self.kind == "histogram"
            else (self.name,)
        )


def _engine(name: str, kind: Kind, unit: Unit, text: str, *labels: str) -> Metric:
    return Metric(f"vllm:{name}", kind, (*VLLM_LABELS, *labels), unit, text, "engine")


def _pooled(labels: tuple[str, ...]) -> tuple[str, ...]:
    """What is of a model is of its pool too."""
    return (*labels, "pool") if "model" in labels else labels


def _gateway(name: str, kind: Kind, unit: Unit, text: str, *labels: str) -> Metric:
    return Metric(f"tritonfleet_gateway_{name}", kind, ("fleet", *_pooled(labels)), unit, text, "gateway")


def _bridge(name: str, kind: Kind, unit: Unit, text: str, *labels: str) -> Metric:
    return Metric(
        f"tritonfleet_bridge_{name}", kind, ("fleet", "model", "pool", "version", *labels), unit, text, "bridge"
    )


def _supervisor(name: str, kind: Kind, unit: Unit, text: str, *labels: str) -> Metric:
    return Metric(f"tritonfleet_{name}", kind, ("fleet", *labels), unit, text, "supervisor")


def _share(name: str, kind: Kind, unit: Unit, text: str, *labels: str) -> Metric:
    return Metric(f"tritonfleet_share_{name}", kind, ("fleet", "group", *_pooled(labels)), unit, text, "share")


def _gpu(name: str, unit: Unit, text: str, kind: Kind = "gauge") -> Metric:
    return Metric(f"DCGM_FI_DEV_{name}", kind, GPU_LABELS, unit, text, "gpu")


_REPLICA = ENGINE_LABELS[1:]

TABLE: tuple[Metric, ...] = (
    _engine("num_requests_running", "gauge", "requests", "Requests in the engine's batch."),
    _engine("num_requests_waiting", "gauge", "requests", "Requests that wait inside the engine."),
    _engine("num_requests_waiting_by_reason", "gauge", "requests", "Waiting requests by what they wait for.", "reason"),
    _engine("kv_cache_usage_perc", "gauge", "ratio", "Share of the KV cache that is in use; 1 is full."),
    _engine("engine_sleep_state", "gauge", "0 or 1", "1 for the state that the engine is in.", "sleep_state"),
    _engine("time_to_first_token_seconds", "histogram", "seconds", "Time from a request's arrival to its first token."),
    _engine("inter_token_latency_seconds", "histogram", "seconds", "Time between two tokens of an answer."),
    _engine(
        "request_time_per_output_token_seconds", "histogram", "seconds", "Mean time between tokens of each request."
    ),
    _engine("e2e_request_latency_seconds", "histogram", "seconds", "Time from a request's arrival to its last token."),
    _engine("request_queue_time_seconds", "histogram", "seconds", "Time that a request waited in the engine."),
    _engine("request_prefill_time_seconds", "histogram", "seconds", "Time that a request's prompt was computed."),
    _engine("request_decode_time_seconds", "histogram", "seconds", "Time from a request's first token to its last."),
    _engine("request_inference_time_seconds", "histogram", "seconds", "Prefill and decode of a request together."),
    _engine("prompt_tokens_total", "counter", "tokens", "Prompt tokens that were processed."),
    _engine("generation_tokens_total", "counter", "tokens", "Tokens that were generated."),
    _engine("prompt_tokens_cached_total", "counter", "tokens", "Prompt tokens that were taken from a cache."),
    _engine(
        "request_success_total", "counter", "requests", "Requests that ended, by why they ended.", "finished_reason"
    ),
    _engine("prefix_cache_queries_total", "counter", "tokens", "Tokens that were looked up in the prefix cache."),
    _engine("prefix_cache_hits_total", "counter", "tokens", "Tokens that were found in the prefix cache."),
    _engine("num_preemptions_total", "counter", "requests", "Requests that were thrown out of a full KV cache."),
    _engine("request_prompt_tokens", "histogram", "tokens", "Prompt tokens of each request."),
    _engine("request_generation_tokens", "histogram", "tokens", "Generated tokens of each request."),
    _engine("iteration_tokens_total", "histogram", "tokens", "Tokens of each step of the engine."),
    _gateway(
        "requests_total",
        "counter",
        "requests",
        "Requests that were answered; src says who made the answer.",
        *("model", "path", "status", "src"),
    ),
    _gateway("requests_in_flight", "gauge", "requests", "Requests that an engine works on now.", "model"),
    _gateway("requests_waiting", "gauge", "requests", "Requests that wait in the gateway for their turn.", "model"),
    _gateway("wait_seconds", "histogram", "seconds", "Time in the gateway's line, in seconds.", "model"),
    _gateway(
        "time_to_first_token_seconds",
        "histogram",
        "seconds",
        "Time from a streamed request's headers to the first bytes of its answer, in seconds.",
        "model",
    ),
    _gateway(
        "request_seconds",
        "histogram",
        "seconds",
        "Time from a request's headers to the end of its answer, in seconds.",
        "model",
    ),
    _gateway("retries_total", "counter", "requests", "Requests that were sent again to another replica.", "model"),
    _gateway(
        "refused_total", "counter", "requests", "Requests that the gateway itself refused, by error code.", "code"
    ),
    _gateway(
        "client_gone_total",
        "counter",
        "requests",
        "Requests whose client went away before the end of the answer.",
        "model",
    ),
    _gateway("key_requests_total", "counter", "requests", "Requests by API key (its id).", "key"),
    _gateway(
        "key_tokens_total",
        "counter",
        "tokens",
        "Tokens, prompt and answer, of API keys with a token limit.",
        "key",
    ),
    _bridge("requests_total", "counter", "requests", "Requests that ended, by outcome.", "outcome"),
    _bridge("responses_total", "counter", "", "Responses that were sent to clients."),
    _bridge("tokens_total", "counter", "tokens", "Tokens that were generated for clients."),
    _bridge("in_flight", "gauge", "requests", "Requests that are being answered."),
    _supervisor("fleet_info", "gauge", "", "Always 1; the version of tritonfleet that runs the fleet.", "version"),
    _supervisor("fleet_state", "gauge", "0 or 1", "1 for the state that the fleet is in.", "state"),
    _supervisor("replica_up", "gauge", "0 or 1", "1 while the engine serves.", *_REPLICA),
    _supervisor("replica_state", "gauge", "0 or 1", "1 for the state that the engine is in.", *_REPLICA, "state"),
    _supervisor("replica_restarts_total", "counter", "", "Restarts of the engine after failures.", *_REPLICA),
    _supervisor(
        "replica_ready_seconds", "gauge", "seconds", "Time from the engine's last start until it served.", *_REPLICA
    ),
    _supervisor(
        "replica_gpu", "gauge", "", "Always 1; the GPU that the engine runs on, to join with DCGM's.", *_REPLICA, "gpu"
    ),
    _supervisor("model_in_triton", "gauge", "0 or 1", "1 while Triton has the model loaded.", "model", "pool"),
    _supervisor("triton_up", "gauge", "0 or 1", "1 while Triton serves."),
    _supervisor("triton_restarts_total", "counter", "", "Restarts of Triton after failures."),
    _supervisor(
        "scrape_up",
        "gauge",
        "0 or 1",
        "1 if the engine told its metrics in time, 0 if it runs and did not; its series are absent then.",
        *_REPLICA,
    ),
    _supervisor(
        "scrape_part_up", "gauge", "0 or 1", "The same for the other parts: triton, gpu, share, supervisor.", "part"
    ),
    _supervisor("scrape_seconds", "gauge", "seconds", "Time that the last reading of all engines took."),
    _share("resident", "gauge", "0 or 1", "1 for a model that is awake.", "model"),
    _share("waiting", "gauge", "requests", "Requests that wait for the model to be awake.", "model"),
    _share("oldest_wait_seconds", "gauge", "seconds", "How long the oldest of them has waited.", "model"),
    _share("requests_total", "counter", "requests", "Requests for the model, awake or not.", "model"),
    _share("held_total", "counter", "requests", "Those for which it was not awake, and that had to wait.", "model"),
    _share("refused_total", "counter", "requests", "Those that were given up: no turn in time, or a failure.", "model"),
    _share("switches_total", "counter", "", "How often a model was put to sleep for another."),
    _share("switch_seconds", "histogram", "seconds", "Time from the decision to switch until the next model served."),
    _gpu("GPU_UTIL", "percent", "Share of the time in which a kernel ran."),
    _gpu("MEM_COPY_UTIL", "percent", "Share of the time in which memory was read or written."),
    _gpu("FB_USED", "MiB", "Memory in use."),
    _gpu("FB_FREE", "MiB", "Memory that is free."),
    _gpu("FB_RESERVED", "MiB", "Memory that the driver keeps for itself."),
    _gpu("POWER_USAGE", "W", "Power."),
    _gpu("TOTAL_ENERGY_CONSUMPTION", "mJ", "Energy since the driver was loaded.", "counter"),
    _gpu("GPU_TEMP", "degrees Celsius", "Temperature."),
    _gpu("SM_CLOCK", "MHz", "Clock of the multiprocessors."),
    _gpu("MEM_CLOCK", "MHz", "Clock of the memory."),
)

METRICS: Mapping[str, Metric] = {metric.name: metric for metric in TABLE}
#: Every name that a query can use, with the metric that it belongs to.
SERIES: Mapping[str, Metric] = {name: metric for metric in TABLE for name in metric.series}
