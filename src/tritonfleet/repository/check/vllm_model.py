"""Checks of a model with ``backend: "vllm"``, by the rules of NVIDIA's vllm_backend and of vLLM itself."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tritonclient.grpc import model_config_pb2 as pb

from tritonfleet.bridge.interface import (
    BLUEPRINT_INPUTS,
    BLUEPRINT_OUTPUTS,
    NVIDIA_INPUTS,
    NVIDIA_OUTPUTS,
    TensorSpec,
)
from tritonfleet.repository.check.arguments import check_arguments, number
from tritonfleet.repository.check.finding import Finding, quoted
from tritonfleet.repository.check.folder import ModelFolder
from tritonfleet.repository.check.json_file import JsonFile, read_json

#: Parameters of NVIDIA's backend that hold true or false.
FLAGS = ("REPORT_CUSTOM_METRICS", "ENABLE_VLLM_HEALTH_CHECK")
_TRUTH = ("true", "false", "yes", "no")


def check_vllm(model: ModelFolder) -> Iterator[Finding]:
    """Yield what is wrong with the model's config and engine arguments."""
    yield from _policy(model)
    yield from _parameters(model)
    yield from _tensors(model)
    for version in model.versions:
        yield from _version(model, str(version))
    if model.versions and (model.path / "model.json").is_file():
        yield Finding(
            "warning", model.file("model.json"), "is not read here", f"move it to {model.name}/{model.versions[-1]}/"
        )


def _policy(model: ModelFolder) -> Iterator[Finding]:
    config = model.config
    if config.HasField("model_transaction_policy") and not config.model_transaction_policy.decoupled:
        yield model.in_config(
            "error",
            r"\bmodel_transaction_policy\b",
            "model_transaction_policy is not decoupled, and this backend answers in pieces",
            "write decoupled: true, or remove the block",
        )
    if config.max_batch_size > 0:
        yield model.in_config(
            "warning",
            r"\bmax_batch_size\b",
            f"max_batch_size is {config.max_batch_size}, but the engine batches by itself and 0 is forced",
            "write max_batch_size: 0",
        )
    count = sum(group.count or 1 for group in config.instance_group)
    if count > 1:
        yield model.in_config(
            "warning",
            r"\bcount\b",
            f"instance_group asks for {count} instances; with NVIDIA's backend each is an engine with its own weights",
            "write count: 1, and replicas in fleet.yaml for more engines",
        )


def _parameters(model: ModelFolder) -> Iterator[Finding]:
    for name in FLAGS:
        value = model.config.parameters[name].string_value if name in model.config.parameters else ""
        if value and value.lower() not in _TRUTH:
            yield model.in_config("warning", quoted(name), f"parameter {name} is {value!r}", 'write "true" or "false"')


def _tensors(model: ModelFolder) -> Iterator[Finding]:
    for kind, declared, known in (
        ("input", model.config.input, NVIDIA_INPUTS + BLUEPRINT_INPUTS),
        ("output", model.config.output, NVIDIA_OUTPUTS + BLUEPRINT_OUTPUTS),
    ):
        by_name = {tensor.name: tensor for tensor in known}
        for tensor in declared:
            expected = by_name.get(tensor.name)
            if expected is not None:
                yield from _tensor(model, kind, tensor, expected)
                continue
            near = difflib.get_close_matches(tensor.name, by_name, n=1)
            fix = f"did you mean {near[0]!r}?" if near else f"it knows {', '.join(by_name)}"
            yield model.in_config("warning", quoted(tensor.name), f"the backend has no {kind} {tensor.name!r}", fix)


def _tensor(model: ModelFolder, kind: str, tensor: Any, expected: TensorSpec) -> Iterator[Finding]:
    declared = pb.DataType.Name(tensor.data_type)
    if declared not in (expected.data_type, "TYPE_INVALID"):
        yield model.in_config(
            "error",
            quoted(tensor.name),
            f"{kind} {tensor.name!r} has data_type {declared}",
            f"the backend has {expected.data_type} there",
        )


def _version(model: ModelFolder, version: str) -> Iterator[Finding]:
    place = model.file(version, "model.json")
    path = model.path / version / "model.json"
    if not path.is_file():
        elsewhere = next(
            (name for name in ("vllm_engine_args.json", "engine_args.json") if (path.parent / name).exists()), ""
        )
        fix = f"rename {elsewhere}" if elsewhere else 'write it, for example {"model": "meta-llama/Llama-2-7b-chat-hf"}'
        yield Finding("error", place, "is missing; it holds the engine's arguments", fix)
        return
    file = read_json(path, place)
    if isinstance(file, Finding):
        yield file
        return
    yield from _arguments(model, file)
    yield from _lora(model, version, file)


def _arguments(model: ModelFolder, file: JsonFile) -> Iterator[Finding]:
    engine = model.config.parameters["tritonfleet_engine"].string_value if _ours(model) else "vllm"
    if "model" not in file.values:
        yield Finding(
            "warning", file.place, "names no model, so vLLM loads its small default model", 'add "model": "..."', 1
        )
    if engine == "vllm":
        yield from check_arguments(file)
    yield from _device(model, file)


def _ours(model: ModelFolder) -> bool:
    return "tritonfleet_engine" in model.config.parameters


def _device(model: ModelFolder, file: JsonFile) -> Iterator[Finding]:
    sizes = [number(file.values.get(name)) or 1 for name in ("tensor_parallel_size", "pipeline_parallel_size")]
    if sizes[0] * sizes[1] > 1 and any(
        group.kind == pb.ModelInstanceGroup.KIND_GPU for group in model.config.instance_group
    ):
        yield model.in_config(
            "error",
            r"\bKIND_GPU\b",
            f"KIND_GPU is for one GPU, and model.json asks for {sizes[0] * sizes[1]:g}",
            "write kind: KIND_MODEL",
        )


def _lora(model: ModelFolder, version: str, file: JsonFile) -> Iterator[Finding]:
    enabled = str(file.values.get("enable_lora", "")).lower() == "true"
    place = model.file(version, "multi_lora.json")
    path = model.path / version / "multi_lora.json"
    if enabled and not path.is_file():
        yield Finding(
            "error", place, "is missing, and enable_lora is true", 'write {"NAME": "/path/of/the/adapter", ...}'
        )
    if not path.is_file():
        return
    adapters = read_json(path, place)
    if isinstance(adapters, Finding):
        yield adapters
        return
    if not enabled:
        yield Finding("warning", place, "is not read, because enable_lora is not true", "set it in model.json")
    for name, value in adapters.values.items():
        if not isinstance(value, str) or not value:
            yield adapters.at(name, "error", f"adapter {name!r} is {json.dumps(value)}", "write its path as text")
        elif Path(value).is_absolute() and not Path(value).exists():
            yield adapters.at(name, "warning", f"adapter {name!r}: there is no {value} here", "copy it to the server")
