"""SGLang through its own OpenAI server, ``python -m sglang.launch_server``.

Written from SGLang's documentation and checked against a record of it (tests/engines/contracts); it was not run on
hardware here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tritonfleet.engines import arguments, environment
from tritonfleet.engines.base import Call, Command, Launch, Meaning
from tritonfleet.errors import UsageError

_ADDRESS = "the fleet chooses the address itself; set the public ones under `doors`"
_ONE_HOST = "an engine runs on one machine; `tensor_parallel` and `pipeline_parallel` split it over its GPUs"
_OWNED = {
    "model": "write `source` instead",
    "model_path": "write `source` instead",
    "served_model_name": "write `name` instead",
    "host": _ADDRESS,
    "port": _ADDRESS,
    "grpc_mode": _ADDRESS,
    "fastapi_root_path": _ADDRESS,
    "api_key": _ADDRESS,
    "admin_api_key": _ADDRESS,
    "enable_metrics": "the fleet always reads them",
    "lora_paths": "write `lora` instead",
    "device": "write `devices` instead",
    "base_gpu_id": "write `devices` instead",
    "gpu_id_step": "write `devices` instead",
    "dp": "write `replicas` instead",
    "dp_size": "write `replicas` instead",
    "data_parallel_size": "write `replicas` instead",
    "nnodes": _ONE_HOST,
    "node_rank": _ONE_HOST,
    "dist_init_addr": _ONE_HOST,
    "config": "write its options under engine_args",
}
_SPEC_KEYS = {
    "dtype": "dtype",
    "context_length": "max_model_len",
    "tp": "tensor_parallel",
    "tp_size": "tensor_parallel",
    "tensor_parallel_size": "tensor_parallel",
    "pp_size": "pipeline_parallel",
    "pipeline_parallel_size": "pipeline_parallel",
}


class SGLang:
    """Adapter of SGLang."""

    name = "sglang"
    runtime_kinds: tuple[str, ...] = ("sglang",)
    unix_socket = False
    #: 503 until the server is ready; on an idle server it generates one token.
    health = Call("GET", "/health")
    metrics = Call("GET", "/metrics")
    metric_names: Mapping[Meaning, str] = {
        "running": "sglang:num_running_reqs",
        "waiting": "sglang:num_queue_reqs",
        "kv_cache_usage": "sglang:token_usage",
        "prompt_tokens": "sglang:prompt_tokens_total",
        "generated_tokens": "sglang:generation_tokens_total",
        "ttft_seconds": "sglang:time_to_first_token_seconds",
        "inter_token_seconds": "sglang:inter_token_latency_seconds",
        "request_seconds": "sglang:e2e_request_latency_seconds",
        "queue_seconds": "sglang:queue_time_seconds",
        "finished": "sglang:num_requests_total",
        "prefix_hits": "sglang:cached_tokens_total",
        "prefix_queries": "sglang:prompt_tokens_total",
    }

    def runtime_kind(self, *, on_cpu: bool) -> str:
        """Return ``sglang``; raise UsageError on the CPU."""
        if on_cpu:
            raise UsageError("the engine sglang needs a GPU; use engine: vllm or llamacpp on the CPU")
        return "sglang"

    def command(self, launch: Launch) -> Command:
        """Return the process that serves *launch*; raise UsageError naming an option that cannot be honoured."""
        model, where = launch.model, launch.endpoint
        if where.uds:
            raise UsageError(f"{model.name}: SGLang cannot listen on a Unix socket; give it a TCP port")
        if launch.lora_paths:
            raise UsageError(
                f"{model.name}: SGLang calls an adapter BASE:ADAPTER, which no door of the fleet speaks; "
                "use engine: vllm, or remove lora"
            )
        given = arguments.read_arguments(model.name, model.engine_args)
        arguments.take_matching(model.name, given, _SPEC_KEYS, vars(model))
        arguments.refuse_owned(model.name, given, _OWNED)
        argv = [str(launch.runtime.executable), "-m", "sglang.launch_server", *_own_options(launch)]
        for name, value in {**_defaults(given), **given}.items():
            kind: arguments.Kind = "flag" if isinstance(value, bool) else "list" if isinstance(value, list) else "value"
            argv += arguments.option(model.name, name, value, kind)
        env = {**launch.runtime.env, **environment.QUIET, **environment.visible_gpus(launch)}
        if isinstance(launch.model_path, Path):
            env |= environment.OFFLINE
        return Command(tuple(argv), {**env, **model.env})

    def sleep(self, level: int) -> Call | None:
        """Return None: its memory calls need a request body and --enable-memory-saver."""

    def wake(self, level: int = 1) -> tuple[Call, ...]:
        """Return none."""
        return ()


def _own_options(launch: Launch) -> list[str]:
    model, where = launch.model, launch.endpoint
    path, _, revision = str(launch.model_path).partition("@")
    if isinstance(launch.model_path, Path):
        path, revision = str(launch.model_path), ""
    options = ["--model-path", path, "--host", where.host, "--port", str(where.port)]
    options += ["--served-model-name", model.name, "--enable-metrics"]
    if revision:
        options += ["--revision", revision]
    if model.dtype != "auto":
        options += ["--dtype", model.dtype]
    if model.max_model_len is not None:
        options += ["--context-length", str(model.max_model_len)]
    if model.tensor_parallel > 1:
        options += ["--tensor-parallel-size", str(model.tensor_parallel)]
    if model.pipeline_parallel > 1:
        options += ["--pipeline-parallel-size", str(model.pipeline_parallel)]
    return options


def _defaults(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that a fleet wants otherwise than SGLang does; the spec's engine_args win."""
    # A line a request costs time on the path of every request, and buries what matters in the log.
    defaults: dict[str, Any] = {"log_level_http": "warning"}
    if "schedule_policy" not in given and "enable_priority_scheduling" not in given:
        # A lower number is served first, as vLLM has it, so that a request means the same to every engine.
        defaults |= {"enable_priority_scheduling": True, "schedule_low_priority_values_first": True}
    return defaults
