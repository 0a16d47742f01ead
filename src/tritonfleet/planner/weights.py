"""Sizes of a model's weights from the headers of its safetensors files, without loading them.

A safetensors file begins with eight bytes, the little-endian length of a JSON header that gives each tensor's type,
shape and place (https://github.com/huggingface/safetensors#format).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tritonfleet.errors import SourceError

INDEX = "model.safetensors.index.json"
#: A longer header is a damaged file; the format's own reader refuses it too.
_LONGEST_HEADER = 100_000_000
#: Types that vLLM loads in the model's own dtype.
_FLOATS = frozenset({"F64", "F32", "F16", "BF16"})
_BITS = {
    "F64": 64, "I64": 64, "U64": 64, "F32": 32, "I32": 32, "U32": 32, "F16": 16, "BF16": 16, "I16": 16, "U16": 16,
    "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "I8": 8, "U8": 8, "BOOL": 8, "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4,
}  # fmt: skip
_LAYER = re.compile(r"\.layers\.(\d+)\.")


@dataclass(frozen=True)
class StoredWeights:
    """What the files hold of the layers that are loaded."""

    float_elements: int
    """Elements in a floating-point type of 16 bits or more."""
    float_bytes: int
    """Their bytes as stored."""
    other_bytes: int
    """Bytes of quantised elements and whole numbers."""
    output_elements: int
    """Elements of an output layer that is stored beside the embedding."""

    def loaded_bytes(self, *, dtype_bytes: int, quantised: bool, tied: bool) -> int:
        """Return the bytes on the device: floats in *dtype_bytes* each unless *quantised*, a tied copy left out."""
        floats = self.float_bytes if quantised else self.float_elements * dtype_bytes
        return floats + self.other_bytes - (self.output_elements * dtype_bytes if tied else 0)


def read_stored_weights(folder: Path, layers: int, *, element_bytes: int = 2) -> StoredWeights | None:
    """Return the sizes of the safetensors files in *folder*; None where neither they nor their index are there.

    Of an index alone the total is taken, as numbers of *element_bytes* each. Tensors of layers beyond *layers*
    (multi-token prediction) are left out: vLLM does not load them by default.
    Raises SourceError naming the file that cannot be read.
    """
    files = _files(folder)
    if not files:
        return _total_of_index(folder, layers, element_bytes)
    count = {"float": 0, "stored": 0, "other": 0, "output": 0}
    for path in files:
        for name, kind, elements in _tensors(path):
            found = _LAYER.search(name)
            if found and int(found[1]) >= layers:
                continue
            if kind in _FLOATS:
                count["float"] += elements
                count["stored"] += elements * _BITS[kind] // 8
                count["output"] += elements if name == "lm_head.weight" else 0
            else:
                count["other"] += elements * _BITS[kind] // 8
    return StoredWeights(count["float"], count["stored"], count["other"], count["output"])


def _total_of_index(folder: Path, layers: int, element_bytes: int) -> StoredWeights | None:
    """Return the total that the index states; None without one, or if it holds layers that are not loaded."""
    path = folder / INDEX
    if not path.is_file():
        return None
    index = _read_index(path)
    total = index.get("metadata", {}).get("total_size")
    names = [str(name) for name in index["weight_map"]]
    extra = any(int(found[1]) >= layers for name in names if (found := _LAYER.search(name)))
    if not isinstance(total, int | float) or total <= 0 or extra:
        return None
    return StoredWeights(int(total) // element_bytes, int(total), 0, 0)


def _read_index(path: Path) -> dict[str, Any]:
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise SourceError(f"{path} is no safetensors index: {err}; copy it again") from err
    if not isinstance(index, dict) or not isinstance(index.get("weight_map"), dict):
        raise SourceError(f"{path} is no safetensors index: it has no weight_map; copy it again")
    if not isinstance(index.get("metadata", {}), dict):
        index["metadata"] = {}
    return index


def _files(folder: Path) -> list[Path]:
    """Return the files that hold the weights; of two copies in different splits the one that the index names."""
    index = folder / INDEX
    if index.is_file():
        named = sorted({folder / str(name) for name in _read_index(index)["weight_map"].values()})
        if all(path.is_file() for path in named):
            return named
    return [path for path in sorted(folder.glob("*.safetensors")) if not path.name.startswith("consolidated")]


def _tensors(path: Path) -> Iterator[tuple[str, str, int]]:
    """Yield name, type and number of elements of each tensor in a file."""
    for name, entry in _header(path).items():
        if name == "__metadata__":
            continue
        try:
            kind, elements = str(entry["dtype"]), math.prod(int(size) for size in entry["shape"])
        except (KeyError, TypeError, ValueError) as err:
            raise SourceError(f"{path}: the header's entry {name!r} has no type or shape; copy the file again") from err
        if kind not in _BITS:
            raise SourceError(f"{path}: tensor {name!r} has the type {kind!r}, whose size is not known")
        yield name, kind, elements


def _header(path: Path) -> Mapping[str, Any]:
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 0 < length <= _LONGEST_HEADER:
                raise SourceError(f"{path} is no safetensors file: its header would be {length} bytes; copy it again")
            header = json.loads(file.read(length))
    except (OSError, ValueError) as err:
        raise SourceError(f"{path} cannot be read as safetensors: {err}; copy it again") from err
    if not isinstance(header, dict):
        raise SourceError(f"{path} is no safetensors file: its header is no JSON object; copy it again")
    return header
