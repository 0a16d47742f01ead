"""What the doctor looks at, as plain values; ``gather`` reads them from the machine."""

from __future__ import annotations

import locale
import os
import resource
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tritonfleet import runtimes
from tritonfleet.engines import adapter
from tritonfleet.engines.base import Runtime
from tritonfleet.errors import FleetError, RuntimeMissing
from tritonfleet.runtimes.build import fitting
from tritonfleet.spec.models import Doors, FleetSpec

#: What the bridge imports inside Triton's stub.
BRIDGE_NEEDS = ("numpy", "aiohttp", "orjson", "uvloop")
#: What spans of the gateway, and of vLLM, are made and sent with; vLLM wants both exporters, whichever it uses.
GATEWAY_TRACES_NEED = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")
VLLM_TRACES_NEED = (*GATEWAY_TRACES_NEED, "opentelemetry.exporter.otlp.proto.grpc")
#: A module whose parent is missing is missing too, which ``find_spec`` raises.
_LACKS = """
import importlib.util, sys
for name in sys.argv[1:]:
    try:
        found = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        found = None
    if found is None:
        print(name)
"""


@dataclass(frozen=True)
class RuntimeFact:
    """A runtime as it is here."""

    kind: str
    needed: bool
    """Whether the fleet (or, without one, the default engine of this machine) needs it."""
    runtime: Runtime | None
    problem: str = ""
    """Why it cannot be had or cannot work; empty when it is there, or could be built."""


@dataclass(frozen=True)
class Gpu:
    """One NVIDIA GPU."""

    name: str
    memory_bytes: int


@dataclass(frozen=True)
class GpuFact:
    """What the NVIDIA driver shows."""

    gpus: tuple[Gpu, ...] = ()
    driver: str = ""
    """Its version; empty where there is no driver."""
    problem: str = ""
    """What NVML said when a driver is there and does not work."""


@dataclass(frozen=True)
class PortFact:
    """A port that the fleet needs."""

    door: str
    host: str
    port: int
    problem: str = ""
    """Why it cannot be bound; empty when it is free."""


@dataclass(frozen=True)
class TraceFact:
    """A program that sends spans."""

    program: str
    """``gateway``, or a kind of runtime."""
    python: str
    lacks: tuple[str, ...]
    """Modules that it needs for that and its Python does not have."""


@dataclass(frozen=True)
class Facts:
    """Everything that the checks look at."""

    python_version: tuple[int, int, int]
    python: str
    runtimes: tuple[RuntimeFact, ...]
    libpython: str
    """Folder of the libpython that Triton's stub embeds, or would; empty where the container or nothing provides it."""
    bridge_lacks: tuple[str, ...]
    """Modules that the bridge needs and Triton's Python does not have."""
    gpu: GpuFact
    gpus_named: int
    """Highest GPU number in the spec plus one; 0 when it names none."""
    ports: tuple[PortFact, ...]
    fleet_running: bool
    """Whether the fleet is up: then it holds the ports itself."""
    shm_bytes: int
    """Size of /dev/shm; 0 where there is none."""
    cache: str
    cache_free_bytes: int
    cache_writable: bool
    open_files: int
    """Soft limit of open files."""
    open_files_hard: int
    encoding: str
    """Text encoding of the locale."""
    traces: tuple[TraceFact, ...] = ()
    """Programs that send spans and are here; empty where the fleet has no ``tracing``."""


def gather(spec: FleetSpec | None, *, cache: Path, environ: Mapping[str, str], fleet_running: bool = False) -> Facts:
    """Read the facts for *spec*, or for a fleet with the default ports and engine."""
    gpu = _gpus()
    runtime_facts = tuple(_runtimes(spec, bool(gpu.gpus), cache, environ))
    triton = next(fact.runtime for fact in runtime_facts if fact.kind == "triton")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    existing = next(folder for folder in (cache, *cache.absolute().parents) if folder.exists())
    return Facts(
        python_version=sys.version_info[:3],
        python=sys.executable,
        runtimes=runtime_facts,
        libpython=_libpython(triton, environ),
        bridge_lacks=_bridge_lacks(triton, environ),
        gpu=gpu,
        gpus_named=_gpus_named(spec),
        ports=tuple(_port(name, door.host, door.port) for name, door in (spec.doors if spec else Doors())),
        fleet_running=fleet_running,
        shm_bytes=_size("/dev/shm"),  # noqa: S108 - looked at, not written
        cache=str(cache),
        cache_free_bytes=shutil.disk_usage(existing).free,
        cache_writable=os.access(existing, os.W_OK),
        open_files=_limit(soft),
        open_files_hard=_limit(hard),
        encoding=locale.getencoding(),
        traces=tuple(_traces(spec, runtime_facts, environ)),
    )


def _limit(value: int) -> int:
    return sys.maxsize if value == resource.RLIM_INFINITY else value


def _size(folder: str) -> int:
    try:
        return shutil.disk_usage(folder).total
    except OSError:
        return 0


def _gpus_named(spec: FleetSpec | None) -> int:
    named = [
        gpu for model in (spec.models if spec else ()) if isinstance(model.devices, tuple) for gpu in model.devices
    ]
    return max(named, default=-1) + 1


def _runtimes(spec: FleetSpec | None, has_gpu: bool, cache: Path, environ: Mapping[str, str]) -> list[RuntimeFact]:
    needed = {"triton": "triton"}
    for model in spec.models if spec else ():
        on_cpu = model.devices == "cpu" or (model.devices == "auto" and not has_gpu)
        kind = adapter(model.engine).runtime_kind(on_cpu=on_cpu)
        if kind in runtimes.KINDS:
            needed[kind] = "vllm" if kind == "vllm-cpu" else kind.replace("-", "_")
    if spec is None:
        needed["vllm" if has_gpu else "vllm-cpu"] = "vllm"
    facts = []
    for kind in runtimes.KINDS:
        choice = str(getattr(spec.runtimes, needed[kind])) if spec and kind in needed else runtimes.AUTO
        facts.append(_runtime(kind, kind in needed, choice, cache, environ))
    return facts


def _runtime(kind: str, needed: bool, choice: str, cache: Path, environ: Mapping[str, str]) -> RuntimeFact:
    try:
        found = runtimes.resolve(kind, choice, cache=cache, environ=environ)
        if found is None and needed:
            known = runtimes.KINDS[kind]
            if not known.buildable:
                return RuntimeFact(kind, needed, None, known.how_to_get)
            fitting(known, environ)
    except FleetError as err:
        return RuntimeFact(kind, needed, None, str(err))
    return RuntimeFact(kind, needed, found)


def _libpython(triton: Runtime | None, environ: Mapping[str, str]) -> str:
    if triton is not None:
        return triton.env.get("LD_LIBRARY_PATH", "").partition(os.pathsep)[0]
    try:
        return str(fitting(runtimes.KINDS["triton"], environ)[0].libdir)
    except RuntimeMissing:
        return ""


def _bridge_lacks(triton: Runtime | None, environ: Mapping[str, str]) -> tuple[str, ...]:
    if triton is None or triton.origin == "installed":
        return ()
    return _lacks(str(triton.paths["stub_python"]), BRIDGE_NEEDS, {**environ, **triton.env})


def _traces(spec: FleetSpec | None, found: Sequence[RuntimeFact], environ: Mapping[str, str]) -> Iterator[TraceFact]:
    """Look into the Pythons whose spans are OpenTelemetry's own; Triton and the bridge have theirs built in."""
    if spec is None or spec.tracing is None:
        return
    yield TraceFact("gateway", sys.executable, _lacks(sys.executable, GATEWAY_TRACES_NEED, environ))
    for fact in found:
        if fact.kind in ("vllm", "vllm-cpu") and fact.needed and fact.runtime is not None:
            python = str(fact.runtime.executable)
            lacks = _lacks(python, VLLM_TRACES_NEED, {**environ, **fact.runtime.env})
            yield TraceFact(fact.kind, python, lacks)


def _lacks(python: str, modules: Sequence[str], environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return those of *modules* that *python* cannot find; all of them if it cannot be asked."""
    try:
        argv = [python, "-c", _LACKS, *modules]
        result = subprocess.run(argv, capture_output=True, text=True, timeout=30, env=environ, check=True)
    except (OSError, subprocess.SubprocessError):
        return tuple(modules)
    return tuple(result.stdout.split())


def _gpus() -> GpuFact:
    import pynvml

    try:
        pynvml.nvmlInit()
    except (pynvml.NVMLError_LibraryNotFound, pynvml.NVMLError_DriverNotLoaded):
        return GpuFact()
    except pynvml.NVMLError as err:
        return GpuFact(problem=str(err))
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        gpus = tuple(
            Gpu(str(pynvml.nvmlDeviceGetName(handle)), int(pynvml.nvmlDeviceGetMemoryInfo(handle).total))
            for handle in handles
        )
        return GpuFact(gpus, str(pynvml.nvmlSystemGetDriverVersion()))
    except pynvml.NVMLError as err:
        return GpuFact(problem=str(err))
    finally:
        pynvml.nvmlShutdown()


def _port(door: str, host: str, port: int) -> PortFact:
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except socket.gaierror as err:
        return PortFact(door, host, port, f"{host!r} is not an address of this machine ({err.strerror})")
    except OSError as err:
        return PortFact(door, host, port, _holder(port) or str(err.strerror))
    return PortFact(door, host, port)


def _holder(port: int) -> str:
    import psutil

    try:
        for connection in psutil.net_connections("tcp"):
            address = connection.laddr
            if connection.status == psutil.CONN_LISTEN and address and address.port == port and connection.pid:
                return f"taken by {psutil.Process(connection.pid).name()} (process {connection.pid})"
    except psutil.Error:
        return ""
    return ""
