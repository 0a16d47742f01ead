"""tritonserver's surroundings: which backends and which stub belong to it, and the environment that its stub needs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from tritonfleet.engines.base import Runtime
from tritonfleet.errors import RuntimeMissing
from tritonfleet.runtimes.interpreters import Interpreter, probe, search_path
from tritonfleet.runtimes.kinds import KINDS
from tritonfleet.runtimes.store import Installed

STUB = "triton_python_backend_stub"
#: Where the wheel nvidia-pytriton keeps the server, below site-packages.
IN_WHEEL = Path("pytriton/tritonserver")


def site_packages(environment: Path, minor: str) -> Path:
    """Return the folder of the distributions of a virtual environment."""
    return environment / f"lib/python{minor}/site-packages"


def wheel_server(environment: Path, minor: str) -> Path:
    """Return the wheel's tritonserver in a virtual environment."""
    return site_packages(environment, minor) / IN_WHEEL / "bin/tritonserver"


def place_stub(server: Path, minor: str) -> None:
    """Put the wheel's stub for Python *minor* where the Python backend looks for it; raise RuntimeMissing if none."""
    root = server.parents[1]
    stub = root / "python_backend_stubs" / minor / STUB
    if not stub.exists():
        known = ", ".join(sorted(path.name for path in stub.parents[1].glob("3.*"))) or "none"
        raise RuntimeMissing(f"Triton's wheel has no stub for Python {minor} (it has: {known})")
    shutil.copy2(stub, root / "backends/python" / STUB)


def installed_runtime(installed: Installed, environ: Mapping[str, str]) -> Runtime:
    """Return the Runtime of a Triton that was built in the cache."""
    manifest = installed.manifest
    minor = ".".join(manifest.python_version.split(".")[:2])
    server = wheel_server(installed.folder, minor)
    return Runtime(
        kind="triton",
        version=manifest.version,
        executable=server,
        origin="installed",
        env=stub_environment(installed.python, Path(manifest.libdir or ""), server, environ),
        paths=_paths(server, installed.python),
    )


def stub_environment(python: Path, libdir: Path, server: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Return what the wheel's server needs in its environment (measured; the stub embeds an interpreter).

    The stub finds its packages through the first ``python3`` on PATH, and needs that interpreter's own libpython:
    another patch release fails on ``_ssl``.
    """
    libraries = [str(libdir), str(server.parents[3] / "nvidia_pytriton.libs")]
    libraries += [folder for folder in environ.get("LD_LIBRARY_PATH", "").split(os.pathsep) if folder]
    path = [str(python.parent), *(str(folder) for folder in search_path(environ))]
    return {
        "PATH": os.pathsep.join(dict.fromkeys(path)),
        "LD_LIBRARY_PATH": os.pathsep.join(dict.fromkeys(libraries)),
    }


def found_runtime(server: Path, environ: Mapping[str, str], *, given: bool) -> Runtime:
    """Return the Runtime of a tritonserver that is on the machine: NVIDIA's container, or another environment's wheel.

    Raises RuntimeMissing saying what is not there.
    """
    server = server.resolve()
    if (server.parents[1] / "python_backend_stubs").is_dir():
        return _wheel_runtime(server, environ)
    python = first_python(environ)
    backends = server.parents[1] / "backends"
    if not (backends / "python").is_dir():
        raise RuntimeMissing(f"{server} has no Python backend: there is no folder {backends / 'python'}")
    return Runtime(
        kind="triton",
        version=_server_version(server),
        executable=server,
        origin="given" if given else "found",
        paths=_paths(server, python),
    )


def _wheel_runtime(server: Path, environ: Mapping[str, str]) -> Runtime:
    environment = server.parents[6]
    python = environment / "bin/python3"
    found = probe(python, environ)
    if found is None or found.libdir is None:
        raise RuntimeMissing(f"{server} is in a Python environment whose {python} does not run, or has no libpython")
    _require_stub(server, found)
    return Runtime(
        kind="triton",
        version=_wheel_version(server),
        executable=server,
        origin="given",
        env=stub_environment(python, found.libdir, server, environ),
        paths=_paths(server, python),
    )


def _require_stub(server: Path, python: Interpreter) -> None:
    if not (server.parents[1] / "backends/python" / STUB).exists():
        try:
            place_stub(server, python.minor)
        except OSError as err:
            raise RuntimeMissing(f"Triton's stub cannot be put beside {server}: {err}") from err


def _paths(server: Path, python: Path) -> dict[str, Path]:
    backends = server.parents[1] / "backends"
    return {"backends": backends, "stub": backends / "python" / STUB, "stub_python": python}


def first_python(environ: Mapping[str, str]) -> Path:
    """Return the first ``python3`` on the PATH, the one that Triton's stub takes; raise RuntimeMissing if none."""
    found = shutil.which("python3", path=environ.get("PATH", os.defpath))
    if found is None:
        raise RuntimeMissing("Triton's Python backend needs a python3 on the PATH, and there is none")
    return Path(found)


def _server_version(server: Path) -> str:
    """Return the version that NVIDIA's images leave beside the server (``TRITON_VERSION``)."""
    try:
        return (server.parents[1] / "TRITON_VERSION").read_text(encoding="utf-8").strip()
    except OSError:
        return "unknown"


def _wheel_version(server: Path) -> str:
    names = (folder.name for folder in server.parents[3].glob("nvidia_pytriton-*.dist-info"))
    wheel = next((name.removeprefix("nvidia_pytriton-").removesuffix(".dist-info") for name in names), "unknown")
    pinned = KINDS["triton"]
    return pinned.version if wheel == pinned.pinned(pinned.main) else f"of nvidia-pytriton {wheel}"
