"""A fleet's models as Triton model repository files: a pure function from spec to text.

The layout is that of NVIDIA's vllm_backend: ``NAME/config.pbtxt`` and ``NAME/1/model.json``, with
``NAME/1/multi_lora.json`` where the model has LoRA adapters. Nothing here is edited by hand afterwards.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

from tritonfleet.bridge.interface import (
    BLUEPRINT_INPUTS,
    BLUEPRINT_OUTPUTS,
    NVIDIA_INPUTS,
    NVIDIA_OUTPUTS,
    TensorSpec,
)
from tritonfleet.engines.arguments import read_arguments
from tritonfleet.sources.model import ResolvedModel
from tritonfleet.spec.models import FleetSpec, ModelSpec

#: Version of what we put into ``parameters``; it moves when a reader of old files would go wrong.
SCHEMA_VERSION = "1"

HEADER = "# Made by tritonfleet from fleet.yaml; change that file, not this one.\n"


def render_repository(spec: FleetSpec, resolved: Mapping[str, ResolvedModel]) -> dict[PurePosixPath, str]:
    """Return the repository's files by path.

    *resolved* holds each model's resolved source by the model's name; ``want="metadata"`` is enough. LoRA adapters
    may be in it under their own names; one that is not is named as the spec has it.
    """
    files: dict[PurePosixPath, str] = {}
    for model in spec.models:
        folder = PurePosixPath(model.name)
        source = resolved[model.name]
        files[folder / "config.pbtxt"] = render_config(model, source)
        files[folder / "1/model.json"] = _json(engine_arguments(model, source))
        if model.lora:
            adapters = {
                name: resolved[name].reference if name in resolved else text.removeprefix("hf://")
                for name, text in model.lora.items()
            }
            files[folder / "1/multi_lora.json"] = _json(adapters)
    return files


def render_config(model: ModelSpec, source: ResolvedModel) -> str:
    """Return the model's config.pbtxt."""
    head = pb.ModelConfig(name=model.name, backend="vllm")
    body = pb.ModelConfig()
    body.model_transaction_policy.decoupled = True
    # The engine chooses its devices itself, and KIND_GPU is refused with tensor parallelism.
    body.instance_group.add(count=model.bridge_instances, kind=pb.ModelInstanceGroup.KIND_MODEL)
    for tensor in NVIDIA_INPUTS + BLUEPRINT_INPUTS:
        # Optional one and all: a request carries text_input, PROMPT or embedding_request.
        _declare(body.input.add(optional=True), tensor)
    for tensor in NVIDIA_OUTPUTS + BLUEPRINT_OUTPUTS:
        _declare(body.output.add(), tensor)
    for key, value in _parameters(model, source).items():
        body.parameters[key].string_value = value
    # protobuf leaves a zero out, and Triton takes an absent max_batch_size for a config to be completed.
    return HEADER + _text(head) + "max_batch_size: 0\n" + _text(body)


def _declare(message: Any, tensor: TensorSpec) -> None:
    message.name = tensor.name
    message.data_type = pb.DataType.Value(tensor.data_type)
    message.dims.extend(tensor.dims)


def _parameters(model: ModelSpec, source: ResolvedModel) -> dict[str, str]:
    """Return what clients read through Triton's model configuration API."""
    chat = source.chat
    values = {
        "tritonfleet": SCHEMA_VERSION,
        "tritonfleet_engine": model.engine,
        "chat_template": chat.template,
        "bos_token": chat.bos_token,
        "eos_token": chat.eos_token,
    }
    return {key: value for key, value in values.items() if value}


def engine_arguments(model: ModelSpec, source: ResolvedModel) -> dict[str, Any]:
    """Return model.json: for vLLM the keyword arguments of its AsyncEngineArgs."""
    arguments: dict[str, Any] = {"model": source.reference}
    if source.kind == "hub" and source.revision:
        arguments["revision"] = source.revision
    if model.tensor_parallel > 1:
        arguments["tensor_parallel_size"] = model.tensor_parallel
    if model.pipeline_parallel > 1:
        arguments["pipeline_parallel_size"] = model.pipeline_parallel
    if model.dtype != "auto":
        arguments["dtype"] = model.dtype
    if model.max_model_len is not None:
        arguments["max_model_len"] = model.max_model_len
    if model.lora:
        arguments["enable_lora"] = True
    for name, value in read_arguments(model.name, model.engine_args).items():
        _put(arguments, name, value)
    return arguments


def _put(arguments: dict[str, Any], name: str, value: Any) -> None:
    """Set an argument; ``compilation_config.level`` is the key ``level`` of the mapping ``compilation_config``."""
    head, *rest = name.split(".")
    while rest:
        inner = arguments.get(head)
        arguments[head] = dict(inner) if isinstance(inner, Mapping) else {}
        arguments = arguments[head]
        head, *rest = rest
    arguments[head] = value


def _text(message: Any) -> str:
    return str(text_format.MessageToString(message, as_utf8=True))


def _json(value: Mapping[str, Any]) -> str:
    # YAML knows dates, JSON does not.
    return json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n"
