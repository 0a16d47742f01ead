"""Fleets of different kinds, rendered without a network: models' facts and metadata stand here."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from tests.planner.shapes import CONFIGS
from tritonfleet.deploy import Rendered, render
from tritonfleet.planner import ModelFacts
from tritonfleet.planner.architecture import read_architecture
from tritonfleet.sources import ResolvedModel
from tritonfleet.spec import FleetSpec, parse_spec

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SCALING = "scaling: {max_replicas: 4, concurrency: 32}"

#: Shapes of the models in FLEETS, by a word in their source.
SHAPES = {
    "Llama-2-7b": "llama-2-7b",
    "Mistral-7B": "mistral-7b",
    "Llama-3-70B": "llama-3-70b",
    "Qwen3-8B": "qwen3-8b",
    "DeepSeek-V3": "deepseek-v3",
}

FLEETS = {
    # The guide's two models, each scaled on its own.
    "two-pools": """
name: guide
models:
  - name: llama2
    source: hf://meta-llama/Llama-2-7b-chat-hf
    devices: [0]
    max_model_len: 4096
  - name: mistral7b
    source: hf://mistralai/Mistral-7B-Instruct-v0.2
    devices: [1]
    max_model_len: 8192
    lora: {support: hf://acme/support-lora}
gateway: {max_waiting: 64, max_held_bytes: 4294967296}
""",
    # The same with autoscalers, whose queries belong to the tests of tritonfleet.scaling: no golden files.
    "scaled": f"""
name: guide
models:
  - name: llama2
    source: hf://meta-llama/Llama-2-7b-chat-hf
    max_model_len: 4096
    {SCALING}
  - name: mistral7b
    source: hf://mistralai/Mistral-7B-Instruct-v0.2
    max_model_len: 8192
    {SCALING}
  - name: fixed
    source: s3://my-models/Mistral-7B-Instruct-v0.2
    max_model_len: 8192
""",
    # As the guide had it: both in one pod.
    "one-pool": """
name: together
models:
  - name: llama2
    source: hf://meta-llama/Llama-2-7b-chat-hf
    pool: chat
    max_model_len: 4096
  - name: mistral7b
    source: s3://my-models/Mistral-7B-Instruct-v0.2
    pool: chat
    max_model_len: 8192
""",
    # Two models that take turns on one GPU.
    "shared": """
name: turns
models:
  - name: Qwen.A
    source: hf://Qwen/Qwen3-8B
    share: qwen
    max_model_len: 8192
  - name: Qwen.B
    source: hf://Qwen/Qwen3-8B-Base
    share: qwen
    max_model_len: 8192
lifecycle: {drain_seconds: 300}
""",
    "several-gpus": """
name: wide
models:
  - name: llama3
    source: hf://meta-llama/Meta-Llama-3-70B-Instruct
    tensor_parallel: 4
    replicas: 2
""",
    "several-nodes": """
name: huge
models:
  - name: deepseek
    source: s3://my-models/DeepSeek-V3
    tensor_parallel: 8
    pipeline_parallel: 2
    max_model_len: 8192
""",
    "cpu": """
name: demo
models:
  - name: llama2
    source: demo://llama2
    devices: cpu
""",
}


#: Fleets with golden files: those without autoscalers, whose queries have tests of their own.
GOLDEN_FLEETS = tuple(name for name in FLEETS if name != "scaled")
GOLDEN = Path(__file__).parent / "render/golden"
SCHEMA = Path(__file__).parents[2] / "deploy/helm/tritonfleet/values.schema.json"


def facts_of(spec: FleetSpec) -> dict[str, ModelFacts]:
    """Return the facts of every model, from the shape that its source names."""
    found = {}
    for model in spec.models:
        shape = next((CONFIGS[shape] for word, shape in SHAPES.items() if word in model.source), None)
        config = shape or CONFIGS["qwen2-0.5b"]
        found[model.name] = ModelFacts(read_architecture(config, model.name, dtype=model.dtype))
    return found


def resolved_of(spec: FleetSpec) -> dict[str, ResolvedModel]:
    """Return the metadata of every model; those of the Hub are at COMMIT."""
    found = {}
    for model in spec.models:
        scheme, _, rest = model.source.partition("://")
        if scheme == "hf":
            repo = rest.partition("@")[0]
            found[model.name] = ResolvedModel(model.source, "hub", Path("/hub") / repo, repo, COMMIT)
        else:
            kind: Literal["demo", "objects"] = "demo" if scheme == "demo" else "objects"
            found[model.name] = ResolvedModel(model.source, kind, Path("/models") / model.name, model.source)
    return found


def rendered(
    text: str, chosen: dict[str, str] | None = None, *, token_required: bool = False, registry: str = ""
) -> Rendered:
    """Return the deployment of the fleet.yaml in *text*."""
    spec = parse_spec(text)
    facts, resolved = facts_of(spec), resolved_of(spec)
    return render(spec, facts, resolved, chosen=chosen, token_required=token_required, registry=registry)
