"""Compare the planner's predictions with what vLLM reports, on a machine with a GPU and vLLM.

It needs vLLM and this package's source, nothing else, and no network: models are made of dummy weights, their
config.json is written here. One line for each model, JSON in $OUT/plan_check.json, written after each; exit code 1 if
a goal is missed (weights 2 %, KV-cache tokens 5 %) or a model did not start. On one H100 or H200, within 8 minutes::

    OUT=$OUT PYTHONPATH=src:/tmp/prefix/client:/tmp/prefix/engine python3 scripts/gpu_plan_check.py
    ... scripts/gpu_plan_check.py gemma-3-1b deepseek-v2-lite --seconds 300

Each engine runs in a process of its own; the next one imports vLLM meanwhile and waits for its turn. An engine is ended
as soon as its KV cache is there: capturing CUDA graphs comes later and changes none of the numbers.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

GIB = 2**30
#: What each model that is still to come gets at least.
LEAST_SECONDS = 60.0
GOALS = {"weights": 0.02, "kv_tokens": 0.05}
#: The batch of vLLM's server on a large GPU; its offline class would take another.
BATCH = {"max_num_batched_tokens": 8192, "max_num_seqs": 1024}
COMMON = {"torch_dtype": "bfloat16", "rms_norm_eps": 1e-6, "hidden_act": "silu", "rope_theta": 10000.0}
MODELS: dict[str, dict[str, Any]] = {
    "llama-2-7b": {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 4096, "num_attention_heads": 32,
        "num_key_value_heads": 32, "num_hidden_layers": 32, "intermediate_size": 11008, "vocab_size": 32000,
        "max_position_embeddings": 4096, "tie_word_embeddings": False,
    },
    "mistral-7b": {
        "architectures": ["MistralForCausalLM"], "model_type": "mistral", "hidden_size": 4096,
        "num_attention_heads": 32, "num_key_value_heads": 8, "num_hidden_layers": 32, "intermediate_size": 14336,
        "vocab_size": 32000, "max_position_embeddings": 32768, "sliding_window": 4096, "tie_word_embeddings": False,
    },
    "qwen3-8b": {
        "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": 4096, "num_attention_heads": 32,
        "num_key_value_heads": 8, "head_dim": 128, "num_hidden_layers": 36, "intermediate_size": 12288,
        "vocab_size": 151936, "max_position_embeddings": 40960, "tie_word_embeddings": False,
    },
    "qwen3-30b-a3b": {
        "architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "hidden_size": 2048,
        "num_attention_heads": 32, "num_key_value_heads": 4, "head_dim": 128, "num_hidden_layers": 48,
        "intermediate_size": 6144, "moe_intermediate_size": 768, "num_experts": 128, "num_experts_per_tok": 8,
        "decoder_sparse_step": 1, "mlp_only_layers": [], "norm_topk_prob": True, "vocab_size": 151936,
        "max_position_embeddings": 40960, "tie_word_embeddings": False,
    },
    "smollm2-360m": {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 960, "num_attention_heads": 15,
        "num_key_value_heads": 5, "num_hidden_layers": 32, "intermediate_size": 2560, "vocab_size": 49152,
        "max_position_embeddings": 8192, "tie_word_embeddings": True,
    },
    "gemma-3-1b": {
        "architectures": ["Gemma3ForCausalLM"], "model_type": "gemma3_text", "hidden_size": 1152,
        "num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 256, "num_hidden_layers": 26,
        "intermediate_size": 6912, "vocab_size": 262144, "max_position_embeddings": 32768, "sliding_window": 512,
        "sliding_window_pattern": 6, "query_pre_attn_scalar": 256, "hidden_activation": "gelu_pytorch_tanh",
    },
    "deepseek-v2-lite": {
        "architectures": ["DeepseekV2ForCausalLM"], "model_type": "deepseek_v2", "hidden_size": 2048,
        "num_attention_heads": 16, "num_key_value_heads": 16, "num_hidden_layers": 27, "intermediate_size": 10944,
        "moe_intermediate_size": 1408, "n_routed_experts": 64, "n_shared_experts": 2, "num_experts_per_tok": 6,
        "first_k_dense_replace": 1, "moe_layer_freq": 1, "kv_lora_rank": 512, "q_lora_rank": None,
        "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128, "vocab_size": 102400, "n_group": 1,
        "topk_group": 1, "topk_method": "greedy", "norm_topk_prob": False, "routed_scaling_factor": 1.0,
        "scoring_func": "softmax", "max_position_embeddings": 32768, "tie_word_embeddings": False,
    },
}  # fmt: skip
FIVE = ("llama-2-7b", "mistral-7b", "qwen3-8b", "qwen3-30b-a3b", "smollm2-360m")


def main() -> int:
    """Run the models one after the other and compare."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    arguments.add_argument("models", nargs="*", default=list(FIVE), metavar="MODEL", help=", ".join(MODELS))
    arguments.add_argument("--seconds", type=float, default=460.0, help="time for all of them")
    arguments.add_argument("--engine", type=Path, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.engine:
        return run_engine(given.engine)
    for name in given.models:
        if name not in MODELS:
            arguments.error(f"no model {name!r}; known: {', '.join(MODELS)}")
    out = Path(os.environ.get("OUT", "."))
    out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder:
        results = run_all(given.models, Path(folder), out, time.monotonic() + given.seconds)
    return 0 if all(result.get("ok") for result in results) else 1


def run_all(names: list[str], folder: Path, out: Path, deadline: float) -> list[dict[str, Any]]:
    """Return the comparison of each model; the log of each engine stays in *out*."""
    results = []
    waiting = [start(name, folder, out) for name in names[:1]]
    for index, name in enumerate(names):
        child = waiting.pop()
        waiting += [start(following, folder, out) for following in names[index + 1 : index + 2]]
        begun = time.monotonic()
        limit = max(30.0, deadline - begun - LEAST_SECONDS * (len(names) - index - 1))
        try:
            child.communicate(b"go\n", timeout=limit)
            failure = f"ended with status {child.returncode}, see {name}.log"
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            failure = f"out of time after {limit:.0f} s, see {name}.log"
        result = result_of(name, folder / name, failure)
        result["seconds"] = round(time.monotonic() - begun, 1)
        results.append(result)
        print(line(result), flush=True)
        (out / "plan_check.json").write_text(json.dumps(results, indent=2) + "\n")
    return results


def result_of(name: str, place: Path, failure: str) -> dict[str, Any]:
    """Return the comparison of one model, or why there is none; nothing that goes wrong here costs other models."""
    report = place / "report.json"
    if not report.is_file():
        return {"model": name, "ok": False, "error": failure}
    reported = json.loads(report.read_text())
    try:
        return compare(name, place, reported)
    except Exception as err:
        return {"model": name, "ok": False, "error": f"{type(err).__name__}: {err}", "reported": reported}


def start(name: str, folder: Path, out: Path) -> subprocess.Popen[bytes]:
    """Start the process of one engine; it waits for a line before it takes the GPU."""
    place = folder / name
    place.mkdir()
    (place / "config.json").write_text(json.dumps({**COMMON, **MODELS[name]}))
    environ = {
        **os.environ,
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the worker's own numbers are read in this process
        "VLLM_ALLOW_INSECURE_SERIALIZATION": "1",
        "VLLM_USE_FLASHINFER_SAMPLER": "0",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    with (out / f"{name}.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, __file__, "--engine", str(place)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environ,
        )


def run_engine(place: Path) -> int:
    """Start vLLM on the model in *place* and write what its worker measured, once the KV cache is there."""
    from vllm import LLM
    from vllm.v1.worker.gpu_worker import Worker

    if not sys.stdin.readline():
        return 1

    def report(worker: Any) -> Any:
        (place / "report.json").write_text(json.dumps(read_worker(worker)))
        sys.stdout.flush()
        os._exit(0)  # nothing is left to save, and taking vLLM down takes seconds

    Worker.compile_or_warm_up_model = report
    LLM(str(place), load_format="dummy", skip_tokenizer_init=True, **BATCH)
    return 1  # the worker was not asked to warm up: this vLLM has another way


def read_worker(worker: Any) -> dict[str, Any]:
    """Return a worker's numbers: bytes, and tokens as its log has them."""
    import torch
    from vllm.v1.core.kv_cache_utils import get_max_concurrency_for_kv_cache_config

    runner = worker.model_runner
    concurrency = get_max_concurrency_for_kv_cache_config(worker.vllm_config, runner.kv_cache_config)
    return {
        "gpu": torch.cuda.get_device_name(),
        "total": int(worker.init_snapshot.total_memory),
        "requested": int(worker.requested_memory),
        "utilization": worker.vllm_config.cache_config.gpu_memory_utilization,
        "block_tokens": worker.vllm_config.cache_config.block_size,
        "weights": int(runner.model_memory_usage),
        # Parts that only explain a difference: their names change between releases.
        "activation": int(getattr(worker, "peak_activation_memory", 0)),
        "cuda": int(getattr(worker, "non_torch_memory", 0)),
        "graphs": int(getattr(worker, "cudagraph_memory_estimate", 0)),
        "kv_bytes": int(worker.available_kv_cache_memory_bytes),
        "kv_tokens": int(concurrency * worker.vllm_config.model_config.max_model_len),
    }


def compare(name: str, place: Path, reported: dict[str, Any]) -> dict[str, Any]:
    """Return prediction and report of one model, and whether the goals are met."""
    from tritonfleet.planner import Machine, plan, read_facts
    from tritonfleet.planner.demand import demand
    from tritonfleet.planner.devices import make_gpu
    from tritonfleet.spec.models import FleetSpec, ModelSpec

    share = reported["utilization"]
    model = ModelSpec(name="m", source=str(place), engine_args={**BATCH, "gpu_memory_utilization": share})
    facts = {"m": read_facts(model, place)}
    gpu = make_gpu(reported["gpu"], reported["total"], 63e9)
    engine = plan(FleetSpec(models=(model,)), facts, Machine("here", (gpu,))).replicas[0]
    wanted = demand(model, facts["m"], gpu)
    assert wanted is not None
    predicted = {
        "weights": engine.weights_bytes,
        "activation": wanted.footprint.activation,
        "cuda": wanted.footprint.cuda,
        "graphs": wanted.footprint.graphs,
        "kv_bytes": engine.kv_bytes,
        "kv_tokens": engine.kv_tokens,
    }
    errors = {key: predicted[key] / reported[key] - 1 for key in GOALS}
    met = all(abs(errors[key]) <= goal for key, goal in GOALS.items())
    return {"model": name, "ok": met, "predicted": predicted, "reported": reported, "errors": errors}


def line(result: dict[str, Any]) -> str:
    """Return one model's comparison as a line."""
    head = f"{result['model']:<18}{'ok' if result['ok'] else 'MISSED':<8}{result['seconds']:>6} s  "
    if "error" in result:
        return head + result["error"]
    predicted, reported, errors = result["predicted"], result["reported"], result["errors"]
    rest = "  ".join(
        f"{key} {predicted[key] / GIB:.2f}/{reported[key] / GIB:.2f}" for key in ("activation", "graphs", "cuda")
    )
    return head + (
        f"weights {predicted['weights'] / GIB:.3f} predicted, {reported['weights'] / GIB:.3f} GiB reported "
        f"({errors['weights']:+.2%})  KV tokens {predicted['kv_tokens']:,}/{reported['kv_tokens']:,} "
        f"({errors['kv_tokens']:+.2%})  {rest}"
    )


if __name__ == "__main__":
    sys.exit(main())
