"""One model of a repository as the checks see it: its folder, its parsed config, its versions."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

from tritonfleet.repository.check.finding import Finding, line_of

#: Files that tell Triton the backend of a model without a config.pbtxt.
_BY_FILE = {
    "model.py": "python",
    "model.onnx": "onnxruntime",
    "model.plan": "tensorrt",
    "model.pt": "pytorch",
    "model.savedmodel": "tensorflow",
    "model.graphdef": "tensorflow",
    "model.xml": "openvino",
}
_BY_PLATFORM = {
    "ensemble": "ensemble",
    "tensorrt_plan": "tensorrt",
    "onnxruntime_onnx": "onnxruntime",
    "pytorch_libtorch": "pytorch",
    "tensorflow_savedmodel": "tensorflow",
    "tensorflow_graphdef": "tensorflow",
}


@dataclass(frozen=True)
class ModelFolder:
    """A folder of the repository, read."""

    root: Path
    """The repository."""
    name: str
    """Name of the folder, and so of the model."""
    text: str
    """config.pbtxt; empty when there is none."""
    config: Any
    """The parsed ModelConfig; an empty one when there is none or it does not parse."""

    @property
    def path(self) -> Path:
        """The model's folder."""
        return self.root / self.name

    @cached_property
    def versions(self) -> tuple[int, ...]:
        """The versions that Triton sees, ascending: folders named by a number that does not begin with 0."""
        return tuple(
            sorted(
                int(entry.name)
                for entry in self.path.iterdir()
                if entry.is_dir() and re.fullmatch(r"[1-9][0-9]*", entry.name)
            )
        )

    @cached_property
    def backend(self) -> str:
        """The backend, by the rules of Triton's own auto-completion; empty when nothing tells it."""
        if self.config.HasField("ensemble_scheduling"):
            return "ensemble"
        if self.config.backend:
            return str(self.config.backend)
        if self.config.platform:
            return _BY_PLATFORM.get(self.config.platform, str(self.config.platform))
        for version in self.versions:
            for file, backend in _BY_FILE.items():
                if (self.path / str(version) / file).exists():
                    return backend
        return ""

    @property
    def is_model(self) -> bool:
        """Whether the folder is meant as a model at all."""
        return bool(self.text or self.versions)

    def file(self, *parts: str) -> PurePosixPath:
        """Return the path of a file of this model, relative to the repository."""
        return PurePosixPath(self.name, *parts)

    def in_config(self, severity: Literal["error", "warning"], pattern: str, message: str, fix: str) -> Finding:
        """Return a finding in config.pbtxt at the first match of *pattern*."""
        return Finding(severity, self.file("config.pbtxt"), message, fix, line_of(self.text, pattern))


def read_folder(root: Path, name: str) -> tuple[ModelFolder, list[Finding]]:
    """Return the model folder and what keeps its config.pbtxt from being read."""
    path = root / name / "config.pbtxt"
    config = pb.ModelConfig()
    place = PurePosixPath(name, "config.pbtxt")
    if not path.is_file():
        return ModelFolder(root, name, "", config), []
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as err:
        finding = Finding("error", place, f"cannot be read: {err}", "store it as UTF-8 text that Triton may read")
        return ModelFolder(root, name, "", config), [finding]
    try:
        text_format.Parse(text, config)
    except text_format.ParseError as err:
        message = re.sub(r"^\d+:\d+ : ('.*': )?", "", str(err), flags=re.DOTALL).replace("\n", " ").rstrip(".")
        finding = Finding("error", place, message, _near_name(message), err.GetLine())
        return ModelFolder(root, name, text, pb.ModelConfig()), [finding]
    return ModelFolder(root, name, text, config), []


def _near_name(message: str) -> str:
    """Return what to write for a field or enum value that protobuf does not know."""
    unknown_field = re.search(r'Message type "inference\.([\w.]+)" has no field named "(\w+)"', message)
    unknown_value = re.search(r'Enum type "inference\.([\w.]+)" has no value named (\w+)', message)
    choices: list[str] = []
    if unknown_field and (found := _descriptor(unknown_field[1])):
        choices = [field.name for field in found.fields]
    elif unknown_value and (found := _descriptor(unknown_value[1])):
        choices = [value.name for value in found.values]
    word = (unknown_field or unknown_value or ["", "", ""])[2]
    near = difflib.get_close_matches(word, choices, n=1, cutoff=0.5)
    if near:
        return f"did you mean {near[0]}?"
    return f"it knows {', '.join(choices)}" if choices else "see Triton's model configuration page for the format"


def _descriptor(name: str) -> Any:
    """Return the message or enum called *name*, nested ones with dots."""
    head, *rest = name.split(".")
    found = pb.DESCRIPTOR.message_types_by_name.get(head) or pb.DESCRIPTOR.enum_types_by_name.get(head)
    for part in rest:
        found = found and (found.nested_types_by_name.get(part) or found.enum_types_by_name.get(part))
    return found
