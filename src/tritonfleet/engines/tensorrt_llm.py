"""TensorRT-LLM through its own OpenAI server, ``trtllm-serve``.

Written from TensorRT-LLM's documentation and checked against a record of it (tests/engines/contracts); it was not
run on hardware here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tritonfleet.engines import arguments, environment
from tritonfleet.engines.base import Call, Command, Launch, Meaning
from tritonfleet.errors import UsageError

_ADDRESS = "the fleet chooses the address itself; set the public ones under `doors`"
_OWNED = {
    "model": "write `source` instead",
    "served_model_name": "write `name` instead",
    "host": _ADDRESS,
    "port": _ADDRESS,
    "grpc": _ADDRESS,
    "server_role": "disaggregated serving is not supported",
    "disagg_cluster_uri": "disaggregated serving is not supported",
    "metadata_server_config_file": "disaggregated serving is not supported",
    "gpus_per_node": "write `devices` instead",
    "cluster_size": "an engine runs on one machine",
    "dtype": "trtllm-serve takes it from the checkpoint, or from the file that `config` names",
}
_SPEC_KEYS = {
    "max_seq_len": "max_model_len",
    "tp_size": "tensor_parallel",
    "tensor_parallel_size": "tensor_parallel",
    "pp_size": "pipeline_parallel",
    "pipeline_parallel_size": "pipeline_parallel",
}
#: First release whose command line has --served_model_name.
OLDEST = (1, 3)


class TensorRTLLM:
    """Adapter of TensorRT-LLM."""

    name = "tensorrt-llm"
    runtime_kinds: tuple[str, ...] = ("tensorrt-llm",)
    unix_socket = False
    health = Call("GET", "/health")
    #: Served where the file named by `config` holds `return_perf_metrics: true`; the gauges and the cache's use need
    #: `enable_iter_perf_stats: true` as well. (Its /metrics is JSON, and reading it takes the records away.)
    metrics = Call("GET", "/prometheus/metrics")
    metric_names: Mapping[Meaning, str] = {
        "running": "trtllm_num_requests_running",
        "waiting": "trtllm_num_requests_waiting",
        "kv_cache_usage": "trtllm_kv_cache_utilization",
        "prompt_tokens": "trtllm_prompt_tokens_total",
        "generated_tokens": "trtllm_generation_tokens_total",
        "ttft_seconds": "trtllm_time_to_first_token_seconds",
        "inter_token_seconds": "trtllm_time_per_output_token_seconds",
        "request_seconds": "trtllm_e2e_request_latency_seconds",
        "queue_seconds": "trtllm_request_queue_time_seconds",
        "finished": "trtllm_request_success_total",
        "prefix_hits": "trtllm_prompt_cached_tokens_total",
        "prefix_queries": "trtllm_prompt_tokens_total",
    }

    def runtime_kind(self, *, on_cpu: bool) -> str:
        """Return ``tensorrt-llm``; raise UsageError on the CPU."""
        if on_cpu:
            raise UsageError("the engine tensorrt-llm needs a GPU; use engine: vllm or llamacpp on the CPU")
        return "tensorrt-llm"

    def command(self, launch: Launch) -> Command:
        """Return the process that serves *launch*; raise UsageError naming an option that cannot be honoured."""
        _refuse(launch)
        model, where = launch.model, launch.endpoint
        given = arguments.read_arguments(model.name, model.engine_args)
        arguments.take_matching(model.name, given, _SPEC_KEYS, vars(model))
        arguments.refuse_owned(model.name, given, _OWNED)
        argv = [str(launch.runtime.executable), str(launch.model_path), "--host", where.host, "--port", str(where.port)]
        argv += ["--served_model_name", model.name]
        if model.max_model_len is not None:
            argv += ["--max_seq_len", str(model.max_model_len)]
        if model.tensor_parallel > 1:
            argv += ["--tp_size", str(model.tensor_parallel)]
        if model.pipeline_parallel > 1:
            argv += ["--pp_size", str(model.pipeline_parallel)]
        for name, value in given.items():
            if isinstance(value, dict | list):
                raise UsageError(
                    f"{model.name}: engine_args.{name}: trtllm-serve takes nested options from a YAML file only; "
                    "write them there and name the file with engine_args.config"
                )
            # Its options are spelled with underscores, and a switch is there or not.
            argv += arguments.option(model.name, f"--{name}", value, "flag" if isinstance(value, bool) else "value")
        env = {**launch.runtime.env, **environment.QUIET, **environment.visible_gpus(launch)}
        if isinstance(launch.model_path, Path):
            env |= environment.OFFLINE
        return Command(tuple(argv), {**env, **model.env})

    def sleep(self, level: int) -> Call | None:
        """Return None: its memory calls are for training loops and need a request body."""

    def wake(self, level: int = 1) -> tuple[Call, ...]:
        """Return none."""
        return ()


def _refuse(launch: Launch) -> None:
    model = launch.model
    release = launch.runtime.version.split(".")[:2]
    if all(part.isdigit() for part in release) and tuple(map(int, release)) < OLDEST:
        raise UsageError(
            f"{model.name}: trtllm-serve {launch.runtime.version} cannot give a model a name; "
            f"install {'.'.join(map(str, OLDEST))} or newer"
        )
    if launch.endpoint.uds:
        raise UsageError(f"{model.name}: trtllm-serve cannot listen on a Unix socket; give it a TCP port")
    if launch.lora_paths:
        raise UsageError(f"{model.name}: trtllm-serve has no option for adapters; use engine: vllm, or remove lora")
    if model.dtype != "auto":
        raise UsageError(f"{model.name}: dtype: {_OWNED['dtype']}; remove it")
    if isinstance(launch.model_path, str) and "@" in launch.model_path:
        raise UsageError(f"{model.name}: trtllm-serve does not fetch the revision in {launch.model_path!r}")
