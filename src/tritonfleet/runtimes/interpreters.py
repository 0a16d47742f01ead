"""The Python interpreters of this machine, and what each can carry.

A runtime may need another Python than the one that runs tritonfleet: the wheel of Triton needs numpy 1, which has no
wheels for 3.13, and its stub needs libpython, which some interpreters were built without.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PROBE_SECONDS = 20.0

#: Runs inside the interpreter that is asked, whatever its version: plain Python 3, standard library only.
PROBE = r"""
import importlib.util, json, os, sys, sysconfig
base = getattr(sys, "_base_executable", None) or sys.executable
name = "libpython%d.%d.so.1.0" % sys.version_info[:2]
folders = [sysconfig.get_config_var("LIBDIR"), os.path.join(sys.base_prefix, "lib")]
multiarch = sysconfig.get_config_var("MULTIARCH")
if multiarch:
    folders.append(os.path.join(sys.base_prefix, "lib", multiarch))
found = [folder for folder in folders if folder and os.path.exists(os.path.join(folder, name))]
print(json.dumps({
    "executable": os.path.realpath(base),
    "version": list(sys.version_info[:3]),
    "implementation": sys.implementation.name,
    "libdir": found[0] if found else None,
    "venv": all(importlib.util.find_spec(m) for m in ("venv", "ensurepip")),
    "pip": importlib.util.find_spec("pip") is not None,
    "headers": os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")),
}))
"""


@dataclass(frozen=True)
class Interpreter:
    """A Python on this machine."""

    executable: Path
    """The real program: never a shim, never one of a virtual environment."""
    version: tuple[int, int, int]
    libdir: Path | None
    """Folder of its libpython; None when it was built without one, or the package with it is not installed."""
    has_venv: bool = True
    """Whether it can make virtual environments with pip in them."""
    has_pip: bool = True
    """Whether ``-m pip`` works in it."""
    has_headers: bool = True
    """Whether C extensions can be compiled for it."""

    @property
    def minor(self) -> str:
        """Version as ``3.12``."""
        return f"{self.version[0]}.{self.version[1]}"

    def __str__(self) -> str:
        return f"{self.executable} ({'.'.join(map(str, self.version))})"


def probe(program: Path, environ: Mapping[str, str]) -> Interpreter | None:
    """Ask *program* what it is; None if it is no CPython or does not run (a pyenv shim without a version)."""
    try:
        result = subprocess.run(
            [str(program), "-I", "-c", PROBE],
            capture_output=True,
            text=True,
            timeout=PROBE_SECONDS,
            env=dict(environ),
            check=True,
        )
        facts = json.loads(result.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    if facts["implementation"] != "cpython":
        return None
    major, minor, patch = facts["version"]
    return Interpreter(
        executable=Path(facts["executable"]),
        version=(major, minor, patch),
        libdir=Path(facts["libdir"]) if facts["libdir"] else None,
        has_venv=facts["venv"],
        has_pip=facts["pip"],
        has_headers=facts["headers"],
    )


def available(environ: Mapping[str, str]) -> Iterator[Interpreter]:
    """Yield every CPython found here, each once: the running one first, then PATH, pyenv, uv, the system."""
    seen: set[Path] = set()
    for program in _programs(environ):
        if not program.exists():
            continue
        found = probe(program, environ)
        if found is not None and found.executable not in seen:
            seen.add(found.executable)
            yield found


def _programs(environ: Mapping[str, str]) -> Iterator[Path]:
    yield Path(sys.executable)
    names = ("python3.12", "python3.11", "python3.13", "python3")
    for folder in search_path(environ):
        if folder.name != "shims":  # pyenv's shims stand for the versions listed below
            yield from (folder / name for name in names)
    home = Path(environ.get("HOME") or "/")
    pyenv = Path(environ.get("PYENV_ROOT") or home / ".pyenv")
    data = Path(environ.get("XDG_DATA_HOME") or home / ".local/share")
    uv = Path(environ.get("UV_PYTHON_INSTALL_DIR") or data / "uv/python")
    for folder in (pyenv / "versions", uv):
        yield from sorted(folder.glob("*/bin/python3"), key=_version_in_path, reverse=True)
    yield from (Path(folder) / name for folder in ("/usr/local/bin", "/usr/bin") for name in names)


def _version_in_path(program: Path) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", program.parents[1].name)))


def search_path(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Return the folders of PATH."""
    return tuple(Path(folder) for folder in environ.get("PATH", os.defpath).split(os.pathsep) if folder)


@dataclass(frozen=True)
class Wanted:
    """What a runtime needs of its interpreter."""

    minors: Sequence[str]
    """Versions that the pins have wheels for, for example ``("3.11", "3.12")``."""
    libpython: bool = False
    """Whether a shared libpython must be there (Triton's stub embeds it)."""
    compiled: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Further versions, each with the pins that have no wheel for it and compile from source."""

    def refusal(self, python: Interpreter, *, compiler: bool = False) -> str | None:
        """Return why *python* cannot be used, or None if it can; *compiler* tells whether this machine has one."""
        if python.minor not in (*self.minors, *self.compiled):
            return f"{python}: the version must be {' or '.join((*self.minors, *self.compiled))}"
        if (pins := self.compiled.get(python.minor)) and not (compiler and python.has_headers):
            missing = f"g++ and the headers (apt-get install g++ python{python.minor}-dev)"
            return f"{python}: {', '.join(pins)} must be compiled for this version, which needs {missing}"
        if self.libpython and python.libdir is None:
            return f"{python}: libpython{python.minor}.so.1.0 is missing; {libpython_hint(python)}"
        return None


def libpython_hint(python: Interpreter) -> str:
    """Return how to get *python*'s libpython, by the way it was installed."""
    program = str(python.executable)
    if program.startswith("/usr/bin/"):
        return f"install the package libpython{python.minor} (apt-get install libpython{python.minor})"
    if "/.pyenv/" in program or "/pyenv/" in program:
        version = ".".join(map(str, python.version))
        return f"build it again with PYTHON_CONFIGURE_OPTS=--enable-shared pyenv install --force {version}"
    return "it was built without --enable-shared; use another build of Python"
