"""Hypothesis strategies for valid specs."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tritonfleet.spec.models import FLEET_NAME, MODEL_NAME

_words = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=12)
_json = st.recursive(
    st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False, allow_infinity=False) | _words,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_words, inner, max_size=2),
    max_leaves=4,
)
sources = st.sampled_from(
    [
        "./model",
        "~/model",
        "/models/a b",
        "hf://org/name",
        "hf://org/name@v1.0",
        "s3://bucket/prefix",
        "gs://b/p",
        "demo://llama2",
    ]
)
model_names = st.from_regex(MODEL_NAME.replace("$", r"\Z"))
_arguments = st.dictionaries(
    st.sampled_from(["max_num_seqs", "quantization", "hf-overrides", "seed"]), _json, max_size=3
)


#: Arguments that vLLM takes.
valid_arguments: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "gpu_memory_utilization": st.floats(0.01, 1),
        "max-num-seqs": st.integers(1, 4096),
        "enforce_eager": st.booleans(),
        "quantization": st.sampled_from(["awq", "fp8", None]),
        "hf_overrides": st.dictionaries(_words, _json, max_size=2),
        "compilation_config.mode": st.integers(0, 3),
        "kv-cache-dtype": st.just("auto"),
    },
)


@st.composite
def models(draw: st.DrawFn, name: str, arguments: st.SearchStrategy[dict[str, Any]]) -> dict[str, Any]:
    """Return one model as fleet.yaml has it."""
    tensor, pipeline = draw(st.sampled_from([(1, 1), (2, 1), (1, 2), (2, 2)]))
    needed = tensor * pipeline
    devices: Any = draw(st.sampled_from(["auto", list(range(needed)), list(range(2 * needed))]))
    if needed == 1 and draw(st.booleans()):
        devices = draw(st.sampled_from(["cpu", 3]))
    keys = {
        "devices": devices,
        "tensor_parallel": tensor,
        "pipeline_parallel": pipeline,
        "engine": draw(st.sampled_from(["vllm", "sglang", "tensorrt-llm", "llamacpp", "fake"])),
        "dtype": draw(st.sampled_from(["auto", "bfloat16", "float16", "float32"])),
        "max_model_len": draw(st.none() | st.integers(1, 2**20)),
        "engine_args": draw(arguments),
        "env": draw(st.dictionaries(_words, _words, max_size=2)),
        "lora": draw(st.dictionaries(st.from_regex(r"\Alora-[a-z]{6}\Z"), sources, max_size=2)),
        "replicas": draw(st.integers(1, 4)),
        "load": draw(st.booleans()),
    }
    return {"name": name, "source": draw(sources)} | {key: value for key, value in keys.items() if value is not None}


@st.composite
def fleets(draw: st.DrawFn, arguments: st.SearchStrategy[dict[str, Any]] = _arguments) -> dict[str, Any]:
    """Return a whole fleet as fleet.yaml has it."""
    names = draw(st.lists(model_names, min_size=1, max_size=3, unique_by=str.lower))
    ports = draw(st.lists(st.integers(1, 65535), min_size=4, max_size=4, unique=True))
    entries = [draw(models(name, arguments)) for name in names]
    taken = set(names)
    for entry in entries:  # adapters share the models' names' space
        entry["lora"] = {name: source for name, source in entry["lora"].items() if name not in taken}
        taken.update(entry["lora"])
    return {
        "name": draw(st.from_regex(FLEET_NAME.replace("$", r"\Z"))),
        "models": entries,
        "doors": {
            door: {"port": port} for door, port in zip(("http", "grpc", "metrics", "openai"), ports, strict=True)
        },
        "lifecycle": {"start_seconds": draw(st.floats(0.001, 1e6)), "max_restarts": draw(st.integers(0, 100))},
    }
