"""The vllm adapter's command lines."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.engines.launches import PORT, SOCKET, launch
from tritonfleet.engines import adapter
from tritonfleet.engines.base import Call, EngineAdapter
from tritonfleet.engines.vllm_options import KINDS
from tritonfleet.errors import UsageError

SERVE = ("/rt/bin/python", "-m", "vllm.entrypoints.cli.main", "serve")
SERVER = ("/rt/bin/python", "-m", "vllm.entrypoints.openai.api_server", "--model")
QUIET = ("--scheduling-policy", "priority", "--disable-uvicorn-access-log")
CPU: dict[str, Any] = {"kind": "vllm-cpu", "gpus": ()}


def vllm() -> EngineAdapter:
    """Return the adapter."""
    return adapter("vllm")


def test_a_model_on_one_gpu() -> None:
    """The whole command line and environment, word by word."""
    command = vllm().command(launch(gpus=(3,)))
    assert command.argv == (
        *SERVE,
        "/models/llama2",
        "--uds",
        "/run/engine.sock",
        "--served-model-name",
        "llama2",
        *QUIET,
    )
    assert command.env == {
        "RUNTIME": "yes",
        "DO_NOT_TRACK": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "PROMETHEUS_DISABLE_CREATED_SERIES": "true",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": "3",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
    }


def test_a_model_on_the_cpu() -> None:
    """One core stays free, nothing is compiled, and the KV cache has a size."""
    command = vllm().command(launch(**CPU, cpu_cores=(0, 1, 2, 3)))
    assert command.argv == (
        *(*SERVER, "/models/llama2", "--uds", "/run/engine.sock", "--served-model-name", "llama2", *QUIET),
        *("--enforce-eager", "--kv-cache-memory-bytes", "1073741824"),
    )
    assert command.env["VLLM_CPU_OMP_THREADS_BIND"] == "0,1,2"
    assert "CUDA_VISIBLE_DEVICES" not in command.env


def test_a_model_split_over_gpus_with_adapters() -> None:
    """The spec's own keys, each as vLLM calls it."""
    command = vllm().command(
        launch(
            gpus=(0, 1, 2, 3),
            tensor_parallel=2,
            pipeline_parallel=2,
            dtype="bfloat16",
            max_model_len=4096,
            loras={"sql": "/adapters/sql", "tone": "/adapters/tone"},
            engine_args={"gpu-memory-utilization": 0.8, "max_lora_rank": 64, "enable_prefix_caching": False},
        )
    )
    assert command.argv == (
        *(*SERVE, "/models/llama2", "--uds", "/run/engine.sock", "--served-model-name", "llama2"),
        *("--dtype", "bfloat16", "--max-model-len", "4096"),
        *("--tensor-parallel-size", "2", "--pipeline-parallel-size", "2"),
        *("--lora-modules", "sql=/adapters/sql", "tone=/adapters/tone"),
        *(*QUIET, "--enable-lora", "--max-loras", "2"),
        *("--gpu-memory-utilization", "0.8", "--max-lora-rank", "64", "--no-enable-prefix-caching"),
    )
    assert command.env["CUDA_VISIBLE_DEVICES"] == "0,1,2,3"


def test_nvidias_own_model_json_runs_unchanged() -> None:
    """The sample of NVIDIA's vllm_backend: text for booleans, and an option that vLLM has renamed since."""
    sample = {
        "disable_log_requests": "true",
        "disable_log_stats": True,
        "gpu_memory_utilization": 0.5,
        "enforce_eager": "true",
        "enable_lora": "true",
        "max_lora_rank": 256,
    }
    argv = vllm().command(launch(engine_args=sample)).argv
    assert argv[-8:] == (
        *("--disable-log-stats", "--gpu-memory-utilization", "0.5", "--enforce-eager"),
        *("--enable-lora", "--max-lora-rank", "256", "--no-enable-log-requests"),
    )


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"compilation_config": {"mode": 0}}, ("--compilation-config", '{"mode": 0}')),
        ({"compilation-config.mode": 0}, ("--compilation-config.mode", "0")),
        ({"cudagraph_capture_sizes": [1, 2, 4]}, ("--cudagraph-capture-sizes", "1", "2", "4")),
        ({"allowed_origins": ["*"]}, ("--allowed-origins", '["*"]')),
        ({"seed": -1}, ("--seed=-1",)),
        ({"disable_log_stats": False}, ()),
        ({"disable_uvicorn_access_log": False}, ("--no-disable-uvicorn-access-log",)),
        ({"scheduling_policy": "fcfs"}, ("--scheduling-policy", "fcfs")),
        ({"max_num_seqs": None}, ()),
    ],
)
def test_engine_args_take_vllms_own_names(given: dict[str, Any], words: tuple[str, ...]) -> None:
    """Booleans, lists, mappings and null, in either spelling; they win over the fleet's defaults."""
    plain = vllm().command(launch()).argv
    argv = vllm().command(launch(engine_args=given)).argv
    assert [word for word in argv if word not in plain] == [word for word in words if word not in plain]
    assert " ".join(words) in " ".join(argv)


@pytest.mark.parametrize(
    "name", ["host", "port", "uds", "model", "served_model_name", "lora-modules", "api-key", "nnodes"]
)
def test_what_the_fleet_owns_is_refused(name: str) -> None:
    """The message names the key of the spec to use."""
    with pytest.raises(UsageError, match=r"llama2: engine_args\.\w+ is set by the fleet; .*(`|Hub)"):
        vllm().command(launch(engine_args={name: "x"}))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"gpu_memory_utilisation": 0.5}, "did you mean gpu_memory_utilization?"),
        ({"max-num-seq": 4}, "did you mean max_num_seqs?"),
        ({"max_model_len": 4096}, "write `max_model_len: 4096` beside engine_args instead"),
        ({"tensor_parallel_size": 2}, "write `tensor_parallel: 2` beside engine_args instead"),
        ({"dtype": "half"}, "write `dtype: float16` beside engine_args instead"),
        ({"data_parallel_size": 2}, "write `replicas`"),
        ({"swap_space": 4}, "remove it"),
        ({"worker_use_ray": True}, "write `distributed_executor_backend: ray`"),
        ({"hf_token": "hf_x"}, "set HF_TOKEN in `env`"),
        ({"enforce_eager": "perhaps"}, "write true or false"),
    ],
)
def test_a_wrong_option_is_answered_with_the_right_one(given: dict[str, Any], said: str) -> None:
    """Before anything starts."""
    with pytest.raises(UsageError) as caught:
        vllm().command(launch(engine_args=given))
    assert said in str(caught.value)
    assert "hf_x" not in str(caught.value)


def test_what_repeats_the_spec_is_taken_once() -> None:
    """tensor_parallel_size that agrees with tensor_parallel is no error."""
    argv = vllm().command(launch(gpus=(0, 1), tensor_parallel=2, engine_args={"tensor_parallel_size": 2})).argv
    assert argv.count("--tensor-parallel-size") == 1


def test_a_newer_vllm_may_have_options_that_are_not_known_here() -> None:
    """They are passed on; the engine itself refuses them if need be."""
    argv = vllm().command(launch(version="0.99.1", engine_args={"brand_new": True, "newer": [1]})).argv
    assert argv[-3:] == ("--brand-new", "--newer", "[1]")
    with pytest.raises(UsageError, match="brand_new"):
        vllm().command(launch(version="0.22.0+cu130", engine_args={"brand_new": True}))


def test_a_version_that_is_no_number_counts_as_newer() -> None:
    """A build from source is trusted."""
    assert "--brand-new" in vllm().command(launch(version="unknown", engine_args={"brand_new": True})).argv


def test_sleeping_opens_the_endpoints_for_it() -> None:
    """They exist in development mode only, which nothing else needs."""
    env = vllm().command(launch(engine_args={"enable_sleep_mode": True})).env
    assert env["VLLM_SERVER_DEV_MODE"] == "1"
    assert "VLLM_SERVER_DEV_MODE" not in vllm().command(launch()).env
    assert vllm().sleep(2) == Call("POST", "/sleep?level=2")
    assert vllm().wake(1) == (Call("POST", "/wake_up"),)


def test_a_wake_from_level_2_reads_the_weights_before_it_takes_the_cache() -> None:
    """Without the reload the engine answers with noise."""
    assert [call.path for call in vllm().wake(2)] == [
        "/wake_up?tags=weights",
        "/collective_rpc",
        "/wake_up?tags=kv_cache",
        "/reset_prefix_cache",
    ]
    assert "reload_weights" in vllm().wake(2)[1].body


def test_the_plans_part_of_the_memory_is_passed_on() -> None:
    """Unless the spec names one, by either name; and never to the CPU."""
    planned = replace(launch(), memory_share=0.4521)
    assert "--gpu-memory-utilization 0.4521" in " ".join(vllm().command(planned).argv)
    for name in ("gpu_memory_utilization", "device_memory_utilization"):
        own = replace(launch(engine_args={name: 0.3}), memory_share=0.4521)
        assert "0.4521" not in vllm().command(own).argv
        assert "0.3" in vllm().command(own).argv
    assert "--gpu-memory-utilization" not in vllm().command(replace(launch(**CPU), memory_share=0.4)).argv


def test_a_member_of_a_share_group_can_sleep() -> None:
    """On a GPU with vLLM's sleep mode; the CPU has none, and there the calls answer and free nothing."""
    command = vllm().command(replace(launch(), sleeps=True))
    assert "--enable-sleep-mode" in command.argv
    assert command.env["VLLM_SERVER_DEV_MODE"] == "1"
    command = vllm().command(replace(launch(**CPU), sleeps=True))
    assert "--enable-sleep-mode" not in command.argv
    assert command.env["VLLM_SERVER_DEV_MODE"] == "1"


def test_sleeping_on_the_cpu_is_refused() -> None:
    """vLLM would answer 200 there and free nothing."""
    with pytest.raises(UsageError, match="needs a GPU"):
        vllm().command(launch(**CPU, engine_args={"enable_sleep_mode": True}))


def test_adapters_with_lora_switched_off_are_refused() -> None:
    """The two halves of the spec contradict each other."""
    with pytest.raises(UsageError, match="enable_lora is false"):
        vllm().command(launch(loras={"sql": "/a"}, engine_args={"enable_lora": False}))


def test_many_adapters_do_not_take_memory_unasked() -> None:
    """Eight slots for adapters at most; more must be asked for."""
    loras = {f"l{number}": f"/l{number}" for number in range(20)}
    argv = vllm().command(launch(loras=loras)).argv
    assert argv[argv.index("--max-loras") + 1] == "8"
    asked = vllm().command(launch(loras=loras, engine_args={"max_loras": 20})).argv
    assert asked[asked.index("--max-loras") + 1] == "20"


@pytest.mark.parametrize(
    "options",
    [{"engine_args": {"gpu_memory_utilization": 0.3}}, {"env": {"VLLM_CPU_KVCACHE_SPACE": "4"}}],
)
def test_the_spec_sizes_the_kv_cache_of_the_cpu(options: dict[str, Any]) -> None:
    """Any of vLLM's own three ways replaces the default."""
    assert "--kv-cache-memory-bytes" not in vllm().command(launch(**CPU, **options)).argv


def test_a_single_core_is_used() -> None:
    """There is none to keep free."""
    assert vllm().command(launch(**CPU, cpu_cores=(5,))).env["VLLM_CPU_OMP_THREADS_BIND"] == "5"
    assert "VLLM_CPU_OMP_THREADS_BIND" not in vllm().command(launch(**CPU)).env


def test_the_specs_environment_wins() -> None:
    """Except for what chooses the GPUs."""
    assert vllm().command(launch(env={"VLLM_NO_USAGE_STATS": "0", "A": "b"})).env["VLLM_NO_USAGE_STATS"] == "0"
    with pytest.raises(UsageError, match="write `devices`"):
        vllm().command(launch(env={"CUDA_VISIBLE_DEVICES": "7"}))


def test_a_hub_model_is_fetched_by_the_engine() -> None:
    """Online, at the revision that the source names."""
    command = vllm().command(launch(model_path="org/name@v1"))
    assert command.argv[4:5] == ("org/name",)
    assert " --revision v1 --tokenizer-revision v1 " in " ".join(command.argv)
    assert "HF_HUB_OFFLINE" not in command.env


def test_a_local_model_with_a_tokenizer_of_the_hub_stays_online() -> None:
    """Only what is wholly local is cut off from the Hub."""
    assert "HF_HUB_OFFLINE" not in vllm().command(launch(engine_args={"tokenizer": "org/name"})).env


def test_a_tcp_address_is_possible() -> None:
    """For an engine on its own."""
    assert vllm().command(launch(endpoint=PORT)).argv[5:9] == ("--host", "127.0.0.1", "--port", "18100")


def test_the_runtime_follows_the_device() -> None:
    """vllm on GPUs, vllm-cpu without."""
    assert vllm().runtime_kind(on_cpu=False) == "vllm"
    assert vllm().runtime_kind(on_cpu=True) == "vllm-cpu"
    assert SOCKET.uds


def test_the_recorded_options_are_whole() -> None:
    """Both releases' options are there, each kind with an example that is known to have it."""
    assert len(KINDS) > 300
    assert KINDS["enforce_eager"] == "switch"
    assert KINDS["disable_log_stats"] == "flag"
    assert KINDS["lora_modules"] == "list"
    assert KINDS["allowed_origins"] == "value"
    assert {"calculate_kv_scales", "max_num_queued_reqs"} <= KINDS.keys()  # of 0.22 only, of 0.32 only


def test_paths_with_blanks_stay_one_word() -> None:
    """Nothing goes through a shell."""
    assert "/my models/x" in vllm().command(launch(model_path=Path("/my models/x"))).argv
