"""The demo models that ship with the package, as folders that any Hugging Face loader reads.

Not for downloading or resolving other model sources: this only knows what is installed beside it.
"""

from __future__ import annotations

import difflib
from pathlib import Path

from tritonfleet.errors import SourceError

__all__ = ["demo_model_path", "demo_names"]

_MODELS = Path(__file__).parent / "models"


def demo_names() -> tuple[str, ...]:
    """Names of the demo models, as written after ``demo://``, in alphabetical order."""
    return tuple(sorted(config.parent.name for config in _MODELS.glob("*/config.json")))


def demo_model_path(name: str) -> Path:
    """Folder of the demo model *name*: weights, config, tokenizer and chat template.

    Raises SourceError for a name that is not in ``demo_names()``, or when its weights are not installed.
    """
    names = demo_names()
    if name not in names:
        near = difflib.get_close_matches(name.lower(), names, n=1)
        hint = f"Did you mean demo://{near[0]}? " if near else ""
        raise SourceError(
            f"demo://{name}: no demo model has this name. {hint}Demo models: {', '.join(names) or 'none is installed'}."
        )
    folder = _MODELS / name
    if not (folder / "model.safetensors").is_file():
        raise SourceError(
            f"demo://{name}: {folder / 'model.safetensors'} is missing. "
            "Install tritonfleet again, or train the weights with training/train.py."
        )
    return folder
