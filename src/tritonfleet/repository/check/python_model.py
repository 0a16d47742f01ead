"""Checks of a model with the Python backend: its model.py is read, never run."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import PurePosixPath

from tritonfleet.repository.check.finding import Finding
from tritonfleet.repository.check.folder import ModelFolder

CLASS = "TritonPythonModel"


def check_python(model: ModelFolder) -> Iterator[Finding]:
    """Yield what is wrong with the model's Python code."""
    name = str(model.config.default_model_filename) or "model.py"
    for version in model.versions:
        path = model.path / str(version) / name
        if not path.is_file() or path.suffix != ".py":
            continue
        place = model.file(str(version), name)
        try:
            tree = ast.parse(path.read_bytes())
        except SyntaxError as err:
            yield Finding("error", place, f"is not Python: {err.msg}", "correct it", err.lineno)
            continue
        except (OSError, ValueError) as err:
            yield Finding("error", place, f"cannot be read: {err}", "store it as UTF-8 text that Triton may read")
            continue
        yield from _check_class(model, tree, place)


def _check_class(model: ModelFolder, tree: ast.Module, path: PurePosixPath) -> Iterator[Finding]:
    found = next((node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == CLASS), None)
    if found is None:
        imported = any(
            alias.asname == CLASS or alias.name in (CLASS, "*")
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        )
        if not imported:
            yield Finding("error", path, f"defines no class {CLASS}", "Triton looks for a class of that name")
        return
    methods = {node.name for node in found.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    if found.bases:
        return  # the rest may be inherited
    if "execute" not in methods:
        yield Finding("error", path, f"{CLASS} has no method execute", "add execute(self, requests)", found.lineno)
    for kind, tensors in (("inputs", model.config.input), ("outputs", model.config.output)):
        if not tensors and "auto_complete_config" not in methods:
            yield Finding(
                "warning",
                model.file("config.pbtxt"),
                f"config.pbtxt lists no {kind}, and {CLASS} has no auto_complete_config",
                f"list the {kind} in config.pbtxt",
            )
