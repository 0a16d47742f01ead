"""The adapters that were not run here say only what those projects document (contracts/*.yaml)."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.engines.launches import PORT, SOCKET, launch
from tritonfleet.engines import adapter
from tritonfleet.engines.base import Command, Launch
from tritonfleet.errors import UsageError

CONTRACTS = {
    contract["engine"]: contract
    for contract in (yaml.safe_load(path.read_text()) for path in (Path(__file__).parent / "contracts").glob("*.yaml"))
}
ENGINES = sorted(CONTRACTS)
GGUF = Path("/models/tiny.gguf")


def parsed(contract: Mapping[str, Any], command: Command) -> dict[str, Any]:
    """Read a command line with a parser that knows the documented options and no others."""
    parser = argparse.ArgumentParser(allow_abbrev=False, exit_on_error=False)
    for name in contract["positional"]:
        parser.add_argument(name)
    for name, kind in contract["options"].items():
        how: dict[str, Any] = {"value": {}, "flag": {"action": "store_true"}, "list": {"nargs": "+"}}[kind]
        parser.add_argument(name, dest=name, **how)
    program = len(contract["program"])
    assert command.argv[1:program] == tuple(contract["program"][1:])
    known, unknown = parser.parse_known_args(command.argv[program:])
    assert not unknown, f"not documented: {unknown}"
    return {name: value for name, value in vars(known).items() if value not in (None, False)}


def plain(engine: Any, **options: Any) -> Launch:
    """Return a launch that the engine accepts."""
    path = GGUF if engine == "llamacpp" else Path("/models/llama2")
    endpoint = SOCKET if adapter(engine).unix_socket else PORT
    given = {"model_path": path, "endpoint": endpoint, "kind": engine, "version": "1.3.0", **options}
    return launch(engine, **given)


def test_every_engine_that_was_not_run_has_a_contract() -> None:
    """vLLM and the fake engine are tested with the real programs instead."""
    assert ENGINES == ["llamacpp", "sglang", "tensorrt-llm"]


@pytest.mark.parametrize("engine", ENGINES)
def test_paths_and_metric_names_are_documented(engine: Any) -> None:
    """Health, metrics and every metric name stand in the contract, with the kind that their meaning asks for."""
    contract, found = CONTRACTS[engine], adapter(engine)
    assert {"method": found.health.method, "path": found.health.path} == contract["health"]
    assert {"method": found.metrics.method, "path": found.metrics.path} == contract["metrics_endpoint"]
    for meaning, name in found.metric_names.items():
        kind = contract["metrics"][name]
        expected = "histogram" if meaning.endswith("_seconds") else "counter" if name.endswith("_total") else "gauge"
        assert kind == expected, meaning


@pytest.mark.parametrize("engine", ENGINES)
def test_a_plain_model_uses_documented_options_only(engine: Any) -> None:
    """The command line of a model without engine_args."""
    found = parsed(CONTRACTS[engine], adapter(engine).command(plain(engine)))
    assert "llama2" in found.values()
    assert str(plain(engine).model_path) in found.values()


@pytest.mark.parametrize("engine", ENGINES)
def test_two_gpus_and_a_context_length_use_documented_options_only(engine: Any) -> None:
    """The command line of a model that uses the spec's own keys."""
    command = adapter(engine).command(plain(engine, gpus=(2, 3), tensor_parallel=2, max_model_len=2048))
    found = parsed(CONTRACTS[engine], command)
    size = found.get("--tensor-parallel-size") or found.get("--tp_size")
    assert size == "2" or found["--split-mode"] == "row"
    assert {"2048", "8192"} & set(map(str, found.values()))
    assert command.env["CUDA_VISIBLE_DEVICES"] == "2,3"
    assert command.env["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"


@pytest.mark.parametrize(
    ("engine", "given", "found"),
    [
        ("sglang", {"mem_fraction_static": 0.8, "trust-remote-code": True}, {"--mem-fraction-static": "0.8"}),
        ("sglang", {"schedule_policy": "lpm"}, {"--schedule-policy": "lpm"}),
        ("sglang", {"json_model_override_args": {"a": 1}}, {"--json-model-override-args": '{"a": 1}'}),
        ("sglang", {"uvicorn_access_log_exclude_prefixes": ["/health", "/metrics"]}, {}),
        ("tensorrt-llm", {"free_gpu_memory_fraction": 0.7, "config": "/etc/trt.yaml"}, {"--config": "/etc/trt.yaml"}),
        ("tensorrt-llm", {"trust_remote_code": True, "enable-chunked-prefill": False}, {"--trust_remote_code": True}),
        ("llamacpp", {"parallel": 8, "seed": -1}, {"--parallel": "8"}),
        ("llamacpp", {"tensor_split": [3, 1], "cont_batching": False}, {"--tensor-split": "3,1"}),
    ],
)
def test_engine_args_are_written_as_documented(engine: Any, given: dict[str, Any], found: dict[str, Any]) -> None:
    """Each project's own names, values and switches."""
    command = adapter(engine).command(plain(engine, engine_args=given))
    if "seed" in given:  # llama.cpp takes the next word whatever it is; argparse would not
        assert command.argv[command.argv.index("--seed") + 1] == "-1"
        command = Command(tuple(word for word in command.argv if word not in ("--seed", "-1")), command.env)
    assert found.items() <= parsed(CONTRACTS[engine], command).items()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ["host", "port", "model"])
def test_what_the_fleet_owns_is_refused(engine: Any, name: str) -> None:
    """Address and model come from the spec; the message says from which key."""
    with pytest.raises(UsageError, match=f"llama2: engine_args.{name} is set by the fleet"):
        adapter(engine).command(plain(engine, engine_args={name: "x"}))


@pytest.mark.parametrize("engine", ENGINES)
def test_adapters_that_could_not_be_chosen_by_name_are_refused(engine: Any) -> None:
    """A LoRA adapter that a request cannot name would be ignored, or applied to every request."""
    with pytest.raises(UsageError, match="remove lora"):
        adapter(engine).command(plain(engine, loras={"sql": "/adapters/sql"}))


@pytest.mark.parametrize("engine", ["sglang", "tensorrt-llm"])
def test_engines_without_a_cpu_version_say_which_have_one(engine: Any) -> None:
    """The message names the alternatives."""
    with pytest.raises(UsageError, match="engine: vllm or llamacpp"):
        adapter(engine).runtime_kind(on_cpu=True)
    assert adapter(engine).runtime_kind(on_cpu=False) == engine


@pytest.mark.parametrize("engine", ["sglang", "tensorrt-llm"])
def test_engines_without_unix_sockets_refuse_one(engine: Any) -> None:
    """They get a loopback port instead."""
    assert not adapter(engine).unix_socket
    with pytest.raises(UsageError, match="TCP port"):
        adapter(engine).command(plain(engine, endpoint=SOCKET))


@pytest.mark.parametrize("engine", ENGINES)
def test_engines_that_cannot_sleep_say_so(engine: Any) -> None:
    """No call is made up."""
    assert adapter(engine).sleep(1) is None
    assert adapter(engine).wake(1) == ()


@pytest.mark.parametrize(
    ("engine", "options", "said"),
    [
        ("tensorrt-llm", {"version": "1.1.0"}, "install 1.3 or newer"),
        ("tensorrt-llm", {"dtype": "bfloat16"}, "takes it from the checkpoint"),
        ("tensorrt-llm", {"model_path": "org/name@v1"}, "revision"),
        ("tensorrt-llm", {"engine_args": {"kv_cache_config": {"a": 1}}}, "engine_args.config"),
        ("tensorrt-llm", {"engine_args": {"tp_size": 2}}, "write `tensor_parallel: 2`"),
        ("llamacpp", {"model_path": Path("/models/llama2")}, "engine_args.gguf"),
        ("llamacpp", {"dtype": "float16"}, "its own number format"),
        ("llamacpp", {"gpus": (0, 1, 2, 3), "tensor_parallel": 2, "pipeline_parallel": 2}, "keep one of them"),
        ("llamacpp", {"engine_args": {"parallel": "many"}, "max_model_len": 1024}, "number of requests"),
        ("llamacpp", {"model_path": "org/name@v1"}, "revision"),
        ("sglang", {"engine_args": {"context_length": 4096}}, "write `max_model_len: 4096`"),
    ],
)
def test_what_cannot_be_honoured_is_refused(engine: Any, options: dict[str, Any], said: str) -> None:
    """Never a silent difference between the spec and the engine."""
    with pytest.raises(UsageError, match=re.escape(said)):
        adapter(engine).command(plain(engine, **options))


def test_llamacpp_finds_its_file_in_the_folder() -> None:
    """A folder from a Hub or a bucket holds several files; engine_args.gguf picks one."""
    command = adapter("llamacpp").command(
        plain(
            "llamacpp", model_path=Path("/models/llama2"), engine_args={"gguf": "q4.gguf"}, gpus=(), cpu_cores=(0, 1, 2)
        )
    )
    found = parsed(CONTRACTS["llamacpp"], command)
    assert found["--model"] == "/models/llama2/q4.gguf"
    assert found["--threads"] == "3"
    assert found["--n-gpu-layers"] == "0"


def test_llamacpp_fetches_a_hub_model_itself() -> None:
    """Its own syntax for the Hub, quantisation included."""
    found = parsed(CONTRACTS["llamacpp"], adapter("llamacpp").command(plain("llamacpp", model_path="org/name:Q4_K_M")))
    assert found["--hf-repo"] == "org/name:Q4_K_M"


def test_llamacpp_needs_a_socket_that_ends_in_sock() -> None:
    """Anything else would be taken for a host name."""
    with pytest.raises(UsageError, match=r"ends in \.sock"):
        adapter("llamacpp").command(plain("llamacpp", endpoint=type(SOCKET)(uds="/run/engine")))


def test_sglang_takes_a_revision_of_the_hub() -> None:
    """org/name@revision becomes --revision."""
    found = parsed(
        CONTRACTS["sglang"], adapter("sglang").command(plain("sglang", model_path="org/name@v1", dtype="float16"))
    )
    assert (found["--model-path"], found["--revision"], found["--dtype"]) == ("org/name", "v1", "float16")
    assert found["--dtype"] in CONTRACTS["sglang"]["dtypes"]
