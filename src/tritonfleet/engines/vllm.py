"""vLLM on GPUs and on the CPU, as its own OpenAI server on a Unix socket.

Options and behaviour were checked with vLLM 0.22 and 0.32; docs/engines.md has the measurements behind the defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tritonfleet.engines import arguments, environment
from tritonfleet.engines.base import Call, Command, Launch, Meaning
from tritonfleet.engines.vllm_metrics import MEANINGS
from tritonfleet.engines.vllm_options import KINDS, NEWEST
from tritonfleet.engines.vllm_sleep import wake_calls
from tritonfleet.errors import UsageError

_ADDRESS = "the engine listens on a private Unix socket; set the public addresses under `doors`"
_REPLICAS = "write `replicas` to run several engines, `tensor_parallel` to split one over GPUs"
_ONE_HOST = "an engine runs on one machine; `tensor_parallel` and `pipeline_parallel` split it over its GPUs"

#: Options that the fleet sets itself, with what to write instead.
_OWNED = {
    "model": "write `source` instead",
    "model_tag": "write `source` instead",
    "served_model_name": "write `name` instead",
    "lora_modules": "write `lora` instead",
    "uds": _ADDRESS,
    "host": _ADDRESS,
    "port": _ADDRESS,
    "root_path": _ADDRESS,
    "api_key": _ADDRESS,
    "ssl_keyfile": _ADDRESS,
    "ssl_certfile": _ADDRESS,
    "ssl_ca_certs": _ADDRESS,
    "grpc": _ADDRESS,
    "grpc_port": _ADDRESS,
    "headless": _ONE_HOST,
    "nnodes": _ONE_HOST,
    "node_rank": _ONE_HOST,
    "master_addr": _ONE_HOST,
    "master_port": _ONE_HOST,
    "device_ids": "write `devices` instead",
    "hf_token": "a token on a command line can be read by every user; set HF_TOKEN in `env` or log in to the Hub",
    "config": "write its options under engine_args",
}
#: Options that vLLM has dropped, found in older model.json files, with what to write today.
_RETIRED = {
    "device": "write `devices` instead",
    "swap_space": "vLLM recomputes instead of swapping since its V1 engine; remove it",
    "use_v2_block_manager": "vLLM has one block manager since its V1 engine; remove it",
    "engine_use_ray": "remove it",
    "worker_use_ray": "write `distributed_executor_backend: ray`",
    "num_scheduler_steps": "vLLM schedules asynchronously by itself since its V1 engine; remove it",
    "max_seq_len_to_capture": "write `max_cudagraph_capture_size`",
    "num_lookahead_slots": "write `speculative_config`",
    "speculative_model": "write `speculative_config`",
    "guided_decoding_backend": "write `structured_outputs_config`",
}
#: Options with a key of their own in the spec.
_SPEC_KEYS = {
    "dtype": "dtype",
    "max_model_len": "max_model_len",
    "tensor_parallel_size": "tensor_parallel",
    "pipeline_parallel_size": "pipeline_parallel",
}
_DTYPE_ALIASES = {"half": "float16", "float": "float32"}
#: Options that may name something on the Hub even where the weights are local.
_MAY_DOWNLOAD = frozenset({"tokenizer", "hf_config_path", "speculative_config", "spec_model", "generation_config"})
#: Room for the keys and values of a CPU engine, unless the spec says otherwise; see docs/engines.md.
CPU_KV_CACHE_BYTES = 2**30
#: More adapters than this in one batch must be asked for with max_loras: each takes device memory.
MAX_LORAS = 8


class VLLM:
    """Adapter of vLLM."""

    name = "vllm"
    runtime_kinds: tuple[str, ...] = ("vllm",)
    unix_socket = True
    health = Call("GET", "/health")
    metrics = Call("GET", "/metrics")
    metric_names: Mapping[Meaning, str] = MEANINGS

    def runtime_kind(self, *, on_cpu: bool) -> str:
        """Return ``vllm-cpu`` for the CPU, ``vllm`` for GPUs."""
        return "vllm-cpu" if on_cpu else "vllm"

    def command(self, launch: Launch) -> Command:
        """Return the process that serves *launch*; raise UsageError naming an option that cannot be honoured."""
        given = _checked_arguments(launch)
        asked = {**_defaults(launch, given), **given}
        argv = [*_program(launch), *_address(launch), *_own_options(launch)]
        for name, value in asked.items():
            argv += arguments.option(launch.model.name, name, value, KINDS.get(name))
        # On the CPU the engine core and its workers spin; the server and both doors must get their cores at once.
        return Command(tuple(argv), _environment(launch, asked), children_compute=not launch.gpus)

    def sleep(self, level: int) -> Call:
        """Return the call that frees the GPU's memory: level 1 keeps the weights in host memory, level 2 drops them.

        It works in a share group, or where engine_args holds ``enable_sleep_mode: true``; on the CPU it frees nothing.
        """
        return Call("POST", f"/sleep?level={level}")

    def wake(self, level: int = 1) -> tuple[Call, ...]:
        """Return the calls that take the memory back, and after level 2 also read the weights again."""
        return wake_calls(level)


def _checked_arguments(launch: Launch) -> dict[str, Any]:
    """Return engine_args by canonical name, without what the spec says by its own keys."""
    model = launch.model
    given = arguments.read_arguments(model.name, model.engine_args)
    for name, advice in _RETIRED.items():
        if name in given:
            raise UsageError(f"{model.name}: engine_args.{name} is not an option of vLLM any more; {advice}")
    if "disable_log_requests" in given:  # NVIDIA's own examples have it; vLLM logs no requests unless told to
        quiet = given.pop("disable_log_requests")
        given.setdefault("enable_log_requests", str(quiet).lower() == "false")
    if given.get("dtype") in _DTYPE_ALIASES:
        given["dtype"] = _DTYPE_ALIASES[given["dtype"]]
    arguments.take_matching(model.name, given, _SPEC_KEYS, vars(model))
    arguments.refuse_owned(model.name, given, _OWNED)
    for name in given:
        if name.startswith("data_parallel_"):
            raise UsageError(f"{model.name}: engine_args.{name} is set by the fleet; {_REPLICAS}")
    if _release(launch) <= NEWEST:
        arguments.refuse_unknown(model.name, "vLLM", given, KINDS)
    _check_devices(launch, given)
    return given


def _check_devices(launch: Launch, given: Mapping[str, Any]) -> None:
    name = launch.model.name
    if launch.lora_paths and not arguments.is_true(given.get("enable_lora", True)):
        raise UsageError(f"{name}: engine_args.enable_lora is false, but the spec names adapters under lora")
    if not launch.gpus and arguments.is_true(given.get("enable_sleep_mode")):
        raise UsageError(f"{name}: engine_args.enable_sleep_mode needs a GPU; remove it for an engine on the CPU")


def _defaults(launch: Launch, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that a fleet wants otherwise than vLLM does; the spec's engine_args win."""
    defaults: dict[str, Any] = {
        # Without it, vLLM refuses every request with a priority. Among equals it is first come, first served.
        "scheduling_policy": "priority",
        # A line a request costs time on the path of every request, and buries what matters in the log.
        "disable_uvicorn_access_log": True,
    }
    if launch.lora_paths:
        defaults["enable_lora"] = True
        # vLLM's own default, 1, serves requests for different adapters one after the other.
        defaults["max_loras"] = min(len(launch.lora_paths), MAX_LORAS)
    if launch.gpus and launch.memory_share is not None and "device_memory_utilization" not in given:
        defaults["gpu_memory_utilization"] = launch.memory_share
    if launch.gpus and launch.sleeps:
        defaults["enable_sleep_mode"] = True
    if not launch.gpus:
        # A compiled engine is faster, and takes 1.7 times as long to start (docs/engines.md).
        defaults["enforce_eager"] = True
        if not {"kv_cache_memory_bytes", "gpu_memory_utilization", "device_memory_utilization"} & given.keys() and (
            "VLLM_CPU_KVCACHE_SPACE" not in launch.model.env
        ):
            # vLLM's own default takes 92 % of the machine's memory, and does not start where less is free.
            defaults["kv_cache_memory_bytes"] = CPU_KV_CACHE_BYTES
    return defaults


def _program(launch: Launch) -> list[str]:
    python, model = str(launch.runtime.executable), _model_name(launch)
    if launch.runtime.kind == "vllm-cpu":
        # The distribution is called vllm-cpu there, and the `vllm` command looks for one called vllm.
        return [python, "-m", "vllm.entrypoints.openai.api_server", "--model", model]
    return [python, "-m", "vllm.entrypoints.cli.main", "serve", model]


def _address(launch: Launch) -> list[str]:
    where = launch.endpoint
    return ["--uds", where.uds] if where.uds else ["--host", where.host, "--port", str(where.port)]


def _own_options(launch: Launch) -> list[str]:
    """Return the options that follow from the spec's own keys."""
    model = launch.model
    options = ["--served-model-name", model.name]
    if revision := _revision(launch):
        options += ["--revision", revision, "--tokenizer-revision", revision]
    if model.dtype != "auto":
        options += ["--dtype", model.dtype]
    if model.max_model_len is not None:
        options += ["--max-model-len", str(model.max_model_len)]
    if model.tensor_parallel > 1:
        options += ["--tensor-parallel-size", str(model.tensor_parallel)]
    if model.pipeline_parallel > 1:
        options += ["--pipeline-parallel-size", str(model.pipeline_parallel)]
    if launch.lora_paths:
        options += ["--lora-modules", *(f"{name}={path}" for name, path in launch.lora_paths.items())]
    return options


def _environment(launch: Launch, asked: Mapping[str, Any]) -> dict[str, str]:
    env = {**launch.runtime.env, **environment.QUIET, "VLLM_NO_USAGE_STATS": "1", **environment.visible_gpus(launch)}
    env["PROMETHEUS_DISABLE_CREATED_SERIES"] = "true"  # a fifth of the lines of its metrics, read by nobody
    if isinstance(launch.model_path, Path) and not _MAY_DOWNLOAD & asked.keys():
        env |= environment.OFFLINE
    if launch.sleeps or arguments.is_true(asked.get("enable_sleep_mode")):
        env["VLLM_SERVER_DEV_MODE"] = "1"  # /sleep and /wake_up exist in this mode only
    if not launch.gpus and launch.cpu_cores:
        # One core stays free for the server and the scheduler, which spin while a step is computed.
        cores = launch.cpu_cores[:-1] or launch.cpu_cores
        env["VLLM_CPU_OMP_THREADS_BIND"] = ",".join(map(str, cores))
    return {**env, **launch.model.env}


def _model_name(launch: Launch) -> str:
    path = launch.model_path
    return str(path) if isinstance(path, Path) else path.partition("@")[0]


def _revision(launch: Launch) -> str:
    """Return the revision of a Hub id such as ``org/name@v1``."""
    return "" if isinstance(launch.model_path, Path) else launch.model_path.partition("@")[2]


def _release(launch: Launch) -> tuple[int, ...]:
    """Return major and minor version; a version that is not numbers counts as newer than all that are known."""
    parts = launch.runtime.version.split(".")[:2]
    return tuple(map(int, parts)) if all(part.isdigit() for part in parts) else (NEWEST[0] + 1, 0)
