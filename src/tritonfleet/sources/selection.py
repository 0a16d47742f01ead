"""Which files of a remote model are worth downloading: a pure choice by name."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from tritonfleet.errors import SourceError
from tritonfleet.sources.model import CONFIG_FILES, METADATA_FILES, Want

#: Weights of other frameworks, and training leftovers; none is read by an engine of ours.
_OTHER_FORMATS = frozenset(
    {".h5", ".msgpack", ".ot", ".tflite", ".onnx", ".onnx_data", ".mlmodel", ".pdf", ".png", ".jpg"}
)
_OTHER_FOLDERS = frozenset({"original", "onnx", "openvino", "coreml", "runs", ".git", ".cache", "logs"})
#: Training leftovers that share a suffix with weights.
_TRAINING_FILES = frozenset({"optimizer.bin", "optimizer.pt", "scheduler.pt", "training_args.bin", "scaler.pt"})
_PICKLED = frozenset({".bin", ".pt", ".pth"})


def choose_files(names: Iterable[str], *, source: str, want: Want) -> tuple[str, ...]:
    """Return the files among *names* (relative, with ``/``) that are needed, sorted.

    Safetensors win over pickled weights, sharded Hugging Face weights over Mistral's ``consolidated`` copy of them.
    Of a repository of .gguf files only one can be meant, so several are refused.

    Raises SourceError if the names hold no model, or more than one.
    """
    useful = sorted(name for name in names if _useful(PurePosixPath(name)))
    if want == "metadata":
        return tuple(name for name in useful if name in METADATA_FILES)
    if want == "model" and not any(name in CONFIG_FILES for name in useful):
        return _only_gguf(useful, source)
    weights = [name for name in useful if "/" not in name and name.endswith(".safetensors")]
    if not weights:
        return tuple(name for name in useful if not name.endswith(".gguf"))
    own = any(not name.startswith("consolidated") for name in weights)
    return tuple(
        name
        for name in useful
        if PurePosixPath(name).suffix not in _PICKLED | {".gguf"}
        and not (own and name.startswith("consolidated") and name.endswith(".safetensors"))
    )


def _useful(path: PurePosixPath) -> bool:
    return (
        not _OTHER_FOLDERS.intersection(path.parts[:-1])
        and path.suffix not in _OTHER_FORMATS
        and path.name not in _TRAINING_FILES
        and not path.name.startswith(".git")
        and not path.name.endswith(".pth")
    )


def _only_gguf(useful: list[str], source: str) -> tuple[str, ...]:
    found = [name for name in useful if name.endswith(".gguf")]
    if len(found) == 1:
        return tuple(found)
    if found:
        raise SourceError(
            f"{source}: holds {len(found)} .gguf models; name one, for example {source.split('@')[0]}/{found[0]}"
        )
    shown = ", ".join(useful[:5]) or "nothing of use"
    raise SourceError(f"{source}: there is no config.json, so it is no model; it holds {shown}")
