"""The shipped fake engine (``tritonfleet.fake_engine``) as an engine of a fleet, for tests of everything around it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import fields

from tritonfleet.engines import arguments
from tritonfleet.engines.base import Call, Command, Launch, Meaning
from tritonfleet.engines.vllm_metrics import MEANINGS
from tritonfleet.engines.vllm_sleep import wake_calls
from tritonfleet.fake_engine.options import Options

_OWNED = {
    "uds": "the fleet chooses the address itself",
    "host": "the fleet chooses the address itself",
    "port": "the fleet chooses the address itself",
    "model": "write `source` instead",
    "served_model_name": "write `name` instead",
    "max_model_len": "write `max_model_len` beside engine_args instead",
    "lora_modules": "write `lora` instead",
}
#: It imitates vLLM, but for the parts of a request's time.
_METRIC_NAMES: dict[Meaning, str] = {
    meaning: name
    for meaning, name in MEANINGS.items()
    if meaning not in ("queue_seconds", "prefill_seconds", "decode_seconds")
}
_FLAGS = frozenset({"ignore_sigterm", "spawn_child", "crash_on_busy_sleep"})


class Fake:
    """Adapter of the fake engine; ``engine_args`` are its options."""

    name = "fake"
    runtime_kinds: tuple[str, ...] = ("fake",)
    unix_socket = True
    health = Call("GET", "/health")
    metrics = Call("GET", "/metrics")
    metric_names: Mapping[Meaning, str] = _METRIC_NAMES

    def runtime_kind(self, *, on_cpu: bool) -> str:
        """Return ``fake`` for every device."""
        return "fake"

    def command(self, launch: Launch) -> Command:
        """Return the process; raise UsageError for an option that the fake engine does not have."""
        model = launch.model
        given = arguments.read_arguments(model.name, model.engine_args)
        arguments.refuse_owned(model.name, given, _OWNED)
        arguments.refuse_unknown(model.name, "the fake engine", given, (field.name for field in fields(Options)))
        where = launch.endpoint
        argv = [sys.executable, "-m", "tritonfleet.fake_engine"]
        argv += ["--uds", where.uds] if where.uds else ["--host", where.host, "--port", str(where.port)]
        argv += ["--model", str(launch.model_path), "--served-model-name", model.name]
        if model.max_model_len is not None:
            argv += ["--max-model-len", str(model.max_model_len)]
        if launch.lora_paths:
            argv += ["--lora-modules", *(f"{name}={path}" for name, path in launch.lora_paths.items())]
        for name, value in given.items():
            argv += arguments.option(model.name, name, value, "flag" if name in _FLAGS else "value")
        return Command(tuple(argv), {**launch.runtime.env, **model.env})

    def sleep(self, level: int) -> Call:
        """Return the call that puts it to sleep: new requests wait."""
        return Call("POST", f"/sleep?level={level}")

    def wake(self, level: int = 1) -> tuple[Call, ...]:
        """Return the calls that wake it: vLLM's, whose ways it has."""
        return wake_calls(level)
