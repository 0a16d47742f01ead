"""Checks that hold for every model, whatever its backend."""

from __future__ import annotations

import difflib
import math
import re
from collections import Counter
from collections.abc import Iterator

from tritonclient.grpc import model_config_pb2 as pb

from tritonfleet.repository.check.finding import Finding, quoted
from tritonfleet.repository.check.folder import ModelFolder

#: Backends that NVIDIA ships with Triton or documents.
BACKENDS = (
    "dali",
    "ensemble",
    "fil",
    "identity",
    "onnxruntime",
    "openvino",
    "python",
    "pytorch",
    "repeat",
    "square",
    "tensorflow",
    "tensorrt",
    "tensorrtllm",
    "vllm",
)
#: The file that each backend looks for in a version folder, unless default_model_filename names another.
MODEL_FILES = {
    "onnxruntime": ("model.onnx",),
    "openvino": ("model.xml",),
    "pytorch": ("model.pt",),
    "tensorflow": ("model.savedmodel", "model.graphdef"),
    "tensorrt": ("model.plan",),
    "python": ("model.py",),
}


def check_general(model: ModelFolder) -> Iterator[Finding]:
    """Yield what is wrong with name, versions, backend, tensors and instances."""
    yield from _name(model)
    yield from _versions(model)
    yield from _backend(model)
    yield from _model_file(model)
    yield from _tensors(model)
    yield from _batching(model)


def _name(model: ModelFolder) -> Iterator[Finding]:
    if model.config.name and model.config.name != model.name:
        yield model.in_config(
            "error",
            rf"(?m)^\s*name\s*:\s*{quoted(model.config.name)}",
            f"name {model.config.name!r} differs from the folder's name {model.name!r}",
            f"write {model.name!r}, or remove the line",
        )


def _versions(model: ModelFolder) -> Iterator[Finding]:
    others = sorted(
        entry.name
        for entry in model.path.iterdir()
        if entry.is_dir() and re.fullmatch(r"v\d+|0\d*|latest|version.*", entry.name)
    )
    for name in others:
        yield Finding(
            "warning",
            model.file(name),
            f"Triton does not take {name!r} for a version",
            "name version folders 1, 2, 3 ...",
        )
    if not model.versions:
        empty = " (an empty one is enough; git and object stores drop empty folders)"
        yield Finding(
            "error",
            model.file(),
            "there is no version folder",
            f"make {model.name}/1{empty if model.backend == 'ensemble' else f' with the files of the {_word(model)}'}",
        )
    for version in model.config.version_policy.specific.versions:
        if version not in model.versions:
            have = ", ".join(map(str, model.versions)) or "none"
            yield model.in_config(
                "error", r"\bspecific\b", f"version_policy names version {version}", f"there are: {have}"
            )


def _word(model: ModelFolder) -> str:
    return f"{model.backend} model" if model.backend else "model"


def _backend(model: ModelFolder) -> Iterator[Finding]:
    if not model.backend:
        if any((model.path / str(version) / "model.json").is_file() for version in model.versions):
            fix = f'write {model.name}/config.pbtxt with the line backend: "vllm"'
        else:
            fix = f"write {model.name}/config.pbtxt with a line backend: ..."
        yield Finding("error", model.file(), "nothing tells the backend", fix)
    elif model.backend not in BACKENDS and not _brings_backend(model):
        near = difflib.get_close_matches(model.backend, BACKENDS, n=1)
        yield model.in_config(
            "error" if near else "warning",
            quoted(model.backend),
            f"backend {model.backend!r} is not one of Triton's",
            f"did you mean {near[0]!r}?" if near else "its files must be in the server's backend directory",
        )


def _brings_backend(model: ModelFolder) -> bool:
    """Whether the model's folder, or a version, holds the backend's own library."""
    return any(model.path.rglob(f"libtriton_{model.backend}.so"))


def _model_file(model: ModelFolder) -> Iterator[Finding]:
    names = MODEL_FILES.get(model.backend)
    if not names or model.config.cc_model_filenames:
        return
    if model.config.default_model_filename:
        names = (str(model.config.default_model_filename),)
    for version in model.versions:
        if not any((model.path / str(version) / name).exists() for name in names):
            yield Finding(
                "error",
                model.file(str(version)),
                f"the {model.backend} backend finds no {' or '.join(names)} here",
                "copy it there, or name the file in default_model_filename",
            )


def _tensors(model: ModelFolder) -> Iterator[Finding]:
    for kind, tensors in (("input", model.config.input), ("output", model.config.output)):
        counts = Counter(tensor.name for tensor in tensors)
        for name in (name for name, count in counts.items() if count > 1):
            yield model.in_config(
                "warning", quoted(name), f"{kind} {name!r} is there {counts[name]} times", "keep one of them"
            )
        for tensor in tensors:
            problem = _tensor_problem(tensor)
            if problem:
                yield model.in_config("error", quoted(tensor.name), f"{kind} {tensor.name!r} {problem[0]}", problem[1])


def _tensor_problem(tensor: pb.ModelInput | pb.ModelOutput) -> tuple[str, str] | None:
    if not tensor.name:
        return "has no name", "give it one"
    if tensor.data_type == pb.TYPE_INVALID:
        return "has no data_type", "write for example data_type: TYPE_STRING"
    if not tensor.dims:
        return "has no dims", "write for example dims: [ 1 ], or dims: [ -1 ] for any length"
    if any(dim < 1 and dim != -1 for dim in tensor.dims):
        return f"has dims {list(tensor.dims)}", "each is a positive number, or -1 for any length"
    if tensor.HasField("reshape") and _known_size(tensor.dims) != _known_size(tensor.reshape.shape):
        return (
            f"is reshaped from {list(tensor.dims)} to {list(tensor.reshape.shape)}",
            "both must hold as many elements",
        )
    return None


def _known_size(dims: list[int]) -> int | None:
    """Return the number of elements, or None where a dimension is open."""
    return None if any(dim == -1 for dim in dims) else math.prod(dims)


def _batching(model: ModelFolder) -> Iterator[Finding]:
    config = model.config
    if config.max_batch_size < 0:
        yield model.in_config(
            "error", "max_batch_size", f"max_batch_size is {config.max_batch_size}", "write 0 for no batching"
        )
    preferred = [size for size in config.dynamic_batching.preferred_batch_size if size > max(config.max_batch_size, 0)]
    if preferred:
        yield model.in_config(
            "error",
            "preferred_batch_size",
            f"preferred_batch_size {preferred[0]} is above max_batch_size {config.max_batch_size}",
            "raise max_batch_size, or remove that size",
        )
