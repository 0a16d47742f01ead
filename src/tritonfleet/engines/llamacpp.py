"""llama.cpp through its own server, ``llama-server``: GGUF files on the CPU and on GPUs.

Written from llama.cpp's documentation and checked against a record of it (tests/engines/contracts); it was not run
here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tritonfleet.engines import arguments, environment
from tritonfleet.engines.base import Call, Command, Launch, Meaning
from tritonfleet.errors import UsageError

_ADDRESS = "the engine listens on a private Unix socket; set the public addresses under `doors`"
_ADAPTERS = "llama-server applies its adapters to every request; use engine: vllm, or remove lora"
_OWNED = {
    "model": "write `source` instead",
    "model_url": "write `source` instead",
    "hf_repo": "write `source` instead",
    "docker_repo": "write `source` instead",
    "models_dir": "write each model under `models`",
    "models_preset": "write each model under `models`",
    "alias": "write `name` instead",
    "host": _ADDRESS,
    "port": _ADDRESS,
    "api_prefix": _ADDRESS,
    "api_key": _ADDRESS,
    "api_key_file": _ADDRESS,
    "ssl_key_file": _ADDRESS,
    "ssl_cert_file": _ADDRESS,
    "metrics": "the fleet always reads them",
    "lora": _ADAPTERS,
    "lora_scaled": _ADAPTERS,
    "ctx_size": "write `max_model_len` beside engine_args instead",
    "device": "write `devices` instead",
    "main_gpu": "write `devices` instead",
    "hf_token": "a token on a command line can be read by every user; set HF_TOKEN in `env`",
}
#: Requests at the same time, unless engine_args.parallel says otherwise; llama-server shares its context among them.
PARALLEL = 4
#: More layers than any model has: all of them go to the GPU, whatever release it is.
ALL_LAYERS = 999


class LlamaCpp:
    """Adapter of llama.cpp."""

    name = "llamacpp"
    runtime_kinds: tuple[str, ...] = ("llamacpp",)
    unix_socket = True
    #: 503 while the model is loaded.
    health = Call("GET", "/health")
    metrics = Call("GET", "/metrics")
    #: It has neither a gauge of the KV cache's use nor histograms.
    metric_names: Mapping[Meaning, str] = {
        "running": "llamacpp:requests_processing",
        "waiting": "llamacpp:requests_deferred",
        "prompt_tokens": "llamacpp:prompt_tokens_total",
        "generated_tokens": "llamacpp:tokens_predicted_total",
    }

    def runtime_kind(self, *, on_cpu: bool) -> str:
        """Return ``llamacpp`` for every device."""
        return "llamacpp"

    def command(self, launch: Launch) -> Command:
        """Return the process that serves *launch*; raise UsageError naming an option that cannot be honoured."""
        _refuse(launch)
        model = launch.model
        given = arguments.read_arguments(model.name, model.engine_args)
        arguments.refuse_owned(model.name, given, _OWNED)
        argv = [str(launch.runtime.executable), *_weights(launch, given.pop("gguf", None)), "--alias", model.name]
        argv += [*_address(launch), "--metrics"]
        asked = {**_defaults(launch, given), **given}
        for name, value in asked.items():
            argv += _option(model.name, name, value)
        env = {**launch.runtime.env, **environment.QUIET, **environment.visible_gpus(launch)}
        return Command(tuple(argv), {**env, **model.env})

    def sleep(self, level: int) -> Call | None:
        """Return None: it frees memory only by itself, after --sleep-idle-seconds."""

    def wake(self, level: int = 1) -> tuple[Call, ...]:
        """Return none."""
        return ()


def _refuse(launch: Launch) -> None:
    model = launch.model
    if launch.lora_paths:
        raise UsageError(f"{model.name}: {_ADAPTERS}")
    if model.dtype != "auto":
        raise UsageError(f"{model.name}: dtype: a GGUF file has its own number format; remove dtype")
    if model.tensor_parallel > 1 and model.pipeline_parallel > 1:
        raise UsageError(f"{model.name}: llama-server splits a model by rows or by layers, not both; keep one of them")


def _weights(launch: Launch, file: Any) -> list[str]:
    """Return the options that name the weights; *file* is engine_args.gguf, a file of the model's folder."""
    path = launch.model_path
    if isinstance(path, str):
        if "@" in path:
            raise UsageError(f"{launch.model.name}: llama-server does not fetch the revision in {path!r}")
        return ["--hf-repo", path]
    if file is not None:
        path = path / str(file)
    if path.suffix != ".gguf":
        raise UsageError(
            f"{launch.model.name}: llama-server reads one GGUF file, and {path} is none; "
            "name a file of that folder with engine_args.gguf"
        )
    return ["--model", str(path), "--offline"]


def _address(launch: Launch) -> list[str]:
    where = launch.endpoint
    if where.uds and not where.uds.endswith(".sock"):
        raise UsageError(f"{launch.model.name}: llama-server takes {where.uds!r} for a host; a socket ends in .sock")
    return ["--host", where.uds] if where.uds else ["--host", where.host, "--port", str(where.port)]


def _defaults(launch: Launch, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that follow from the spec's own keys; engine_args win."""
    model = launch.model
    defaults: dict[str, Any] = {"parallel": PARALLEL}
    if model.max_model_len is not None:
        slots = given.get("parallel", PARALLEL)
        if not isinstance(slots, int) or slots < 1:
            raise UsageError(f"{model.name}: engine_args.parallel is {slots!r}; write the number of requests at once")
        defaults["ctx_size"] = model.max_model_len * slots
    defaults["n_gpu_layers"] = ALL_LAYERS if launch.gpus else 0
    if len(launch.gpus) > 1:
        defaults["split_mode"] = "row" if model.tensor_parallel > 1 else "layer"
    if not launch.gpus and launch.cpu_cores:
        defaults["threads"] = len(launch.cpu_cores)
    return defaults


def _option(model: str, name: str, value: Any) -> list[str]:
    """Return the words of one option; its parser takes the next word whatever it is, and lists with commas."""
    if isinstance(value, bool):
        return list(arguments.option(model, name, value, "switch"))
    if isinstance(value, list | tuple):
        value = ",".join(map(arguments.word, value))
    return [arguments.kebab(name), arguments.word(value)]
