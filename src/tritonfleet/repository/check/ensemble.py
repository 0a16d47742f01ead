"""Checks of ensembles: every step's model exists, and every tensor comes from somewhere."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tritonclient.grpc import model_config_pb2 as pb

from tritonfleet.bridge.interface import BLUEPRINT_INPUTS, BLUEPRINT_OUTPUTS, NVIDIA_INPUTS, NVIDIA_OUTPUTS
from tritonfleet.repository.check.finding import Finding, quoted
from tritonfleet.repository.check.folder import ModelFolder


@dataclass(frozen=True)
class Signature:
    """Names and types of a model's tensors; None where its config does not say."""

    inputs: Mapping[str, int] | None
    outputs: Mapping[str, int] | None
    required: frozenset[str]
    """Inputs that a request must carry."""


def check_ensemble(model: ModelFolder, models: Mapping[str, ModelFolder]) -> Iterator[Finding]:
    """Yield what is wrong with the ensemble *model* among the repository's *models*."""
    config = model.config
    if config.platform != "ensemble":
        yield model.in_config(
            "error",
            r"\b(platform|ensemble_scheduling)\b",
            f"platform is {config.platform!r} beside ensemble_scheduling",
            'write platform: "ensemble"',
        )
    if config.instance_group:
        yield model.in_config(
            "error", r"\binstance_group\b", "an ensemble has no instances of its own", "remove instance_group"
        )
    if not config.ensemble_scheduling.step:
        yield model.in_config(
            "error", r"\bplatform\b", "the ensemble has no steps", "add ensemble_scheduling { step [ ... ] }"
        )
        return
    produced: dict[str, int] = {tensor.name: tensor.data_type for tensor in config.input}
    for step in config.ensemble_scheduling.step:
        yield from _step(model, step, models)
        for tensor in step.output_map.values():
            if tensor in produced:
                yield model.in_config(
                    "error", quoted(tensor), f"two steps, or a step and an input, make tensor {tensor!r}", "rename one"
                )
            produced[tensor] = pb.TYPE_INVALID
    yield from _flow(model, produced)
    yield from _types(model, models)


def _step(model: ModelFolder, step: Any, models: Mapping[str, ModelFolder]) -> Iterator[Finding]:
    used = models.get(step.model_name)
    if used is None:
        near = difflib.get_close_matches(step.model_name, models, n=1)
        yield model.in_config(
            "error",
            quoted(step.model_name),
            f"step {step.model_name!r}: there is no such model in the repository",
            f"did you mean {near[0]!r}?" if near else "if another repository of the server has it, add --beside DIR",
        )
        return
    if step.model_version > 0 and step.model_version not in used.versions:
        yield model.in_config(
            "error",
            rf"\bmodel_version\s*:\s*{step.model_version}\b",
            f"step {step.model_name!r}: it has no version {step.model_version}",
            f"there are {', '.join(map(str, used.versions)) or 'none'}; write -1 for the newest",
        )
    signature = signature_of(used)
    yield from _mapped(model, step, "input", step.input_map, signature.inputs)
    yield from _mapped(model, step, "output", step.output_map, signature.outputs)
    for name in sorted(signature.required.difference(step.input_map)):
        yield model.in_config(
            "error",
            quoted(step.model_name),
            f"step {step.model_name!r}: its input {name!r} gets nothing",
            f"add input_map {{ key: {name!r} value: ... }}",
        )


def _mapped(
    model: ModelFolder, step: Any, kind: str, mapping: Mapping[str, str], known: Mapping[str, int] | None
) -> Iterator[Finding]:
    for name in mapping if known is not None else ():
        if known is not None and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            yield model.in_config(
                "error",
                quoted(name),
                f"step {step.model_name!r} has no {kind} {name!r}",
                f"did you mean {near[0]!r}?" if near else f"it has {', '.join(sorted(known))}",
            )


def _flow(model: ModelFolder, produced: Mapping[str, int]) -> Iterator[Finding]:
    """Yield tensors that are used and that nothing makes."""
    consumed = [
        (tensor, f"step {step.model_name!r} takes tensor {tensor!r}")
        for step in model.config.ensemble_scheduling.step
        for tensor in step.input_map.values()
    ]
    consumed += [(tensor.name, f"the ensemble's output is {tensor.name!r}") for tensor in model.config.output]
    for tensor, message in consumed:
        if tensor not in produced:
            near = difflib.get_close_matches(tensor, produced, n=1)
            fix = f"did you mean {near[0]!r}?" if near else "make it an input of the ensemble, or a step's output"
            yield model.in_config("error", quoted(tensor), f"{message}, which nothing makes", fix)


def _types(model: ModelFolder, models: Mapping[str, ModelFolder]) -> Iterator[Finding]:
    """Yield tensors that one side makes with another type than the other side takes."""
    first: dict[str, tuple[int, str]] = {}
    for tensor, kind, who in _typed(model, models):
        known, other = first.setdefault(tensor, (kind, who))
        if kind != known:
            yield model.in_config(
                "error",
                quoted(tensor),
                f"tensor {tensor!r} is {pb.DataType.Name(known)} in {other} and {pb.DataType.Name(kind)} in {who}",
                "map tensors of one type",
            )


def _typed(model: ModelFolder, models: Mapping[str, ModelFolder]) -> Iterator[tuple[str, int, str]]:
    """Yield each use of a tensor whose type is known: its name, type, and user."""
    for kind, tensors in (("input", model.config.input), ("output", model.config.output)):
        for tensor in tensors:
            yield tensor.name, tensor.data_type, f"the ensemble's {kind}"
    for step in model.config.ensemble_scheduling.step:
        if step.model_name in models:
            signature = signature_of(models[step.model_name])
            for mapping, known in ((step.input_map, signature.inputs), (step.output_map, signature.outputs)):
                for name, tensor in mapping.items():
                    if known and name in known:
                        yield tensor, known[name], f"{step.model_name}'s {name}"


def signature_of(model: ModelFolder) -> Signature:
    """Return the tensors of *model*; a vLLM model has its backend's besides those in its config."""
    inputs = {tensor.name: tensor.data_type for tensor in model.config.input}
    outputs = {tensor.name: tensor.data_type for tensor in model.config.output}
    if model.backend == "vllm":
        inputs |= {tensor.name: pb.DataType.Value(tensor.data_type) for tensor in NVIDIA_INPUTS + BLUEPRINT_INPUTS}
        outputs |= {tensor.name: pb.DataType.Value(tensor.data_type) for tensor in NVIDIA_OUTPUTS + BLUEPRINT_OUTPUTS}
        return Signature(inputs, outputs, frozenset())
    required = frozenset(tensor.name for tensor in model.config.input if not tensor.optional)
    return Signature(inputs or None, outputs or None, required)
