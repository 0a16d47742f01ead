"""Find Triton and the engines on this machine, or build their environments, once, in the cache folder.

A given path comes first, then what is on the machine (NVIDIA's container, a ``vllm`` on the PATH), then what
``tritonfleet runtime install`` built.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from tritonfleet.engines.base import Runtime
from tritonfleet.errors import RuntimeMissing
from tritonfleet.progress import Progress
from tritonfleet.runtimes import build, find, triton
from tritonfleet.runtimes.kinds import KINDS, kind_named
from tritonfleet.runtimes.store import Installed, Store

AUTO = "auto"

__all__ = ["AUTO", "KINDS", "Installed", "Store", "ensure", "install", "kind_named", "resolve"]


def resolve(kind: str, choice: str, *, cache: Path, environ: Mapping[str, str]) -> Runtime | None:
    """Return the runtime *kind* that *choice* means, or None if it would have to be installed.

    *choice* is ``auto`` or a path. Raises UsageError for an unknown kind or a path that is no program, RuntimeMissing
    for a program that is there and cannot work.
    """
    if kind == "fake":
        return Runtime(kind="fake", version="0", executable=Path(sys.executable), origin="found")
    known = kind_named(kind)
    if choice != AUTO:
        return find.given(known, choice, environ)
    if found := find.on_machine(known, environ):
        return found
    installed = Store(cache).get(known) if known.buildable else None
    return _runtime(installed, environ) if installed else None


def ensure(kind: str, choice: str, *, cache: Path, environ: Mapping[str, str], progress: Progress) -> Runtime:
    """Return what ``resolve`` returns, after building it if it is missing.

    Raises RuntimeMissing with the reason and the next step when it cannot be had.
    """
    if found := resolve(kind, choice, cache=cache, environ=environ):
        return found
    return install(kind, cache=cache, environ=environ, progress=progress)


def install(kind: str, *, cache: Path, environ: Mapping[str, str], progress: Progress) -> Runtime:
    """Build the runtime *kind* in the cache (unless it is there), whatever else is on the machine."""
    known = kind_named(kind)
    if not known.buildable:
        raise RuntimeMissing(
            f"{known.name} is not on this machine, and tritonfleet does not build it: {known.how_to_get}"
        )
    return _runtime(build.build(known, Store(cache), environ, progress), environ)


def _runtime(installed: Installed, environ: Mapping[str, str]) -> Runtime:
    if installed.manifest.kind == "triton":
        return triton.installed_runtime(installed, environ)
    return Runtime(
        kind=installed.manifest.kind,
        version=installed.manifest.version,
        executable=installed.python,
        origin="installed",
    )
