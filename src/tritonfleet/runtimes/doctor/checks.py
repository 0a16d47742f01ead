"""The doctor's judgement: facts in, findings out, each with the command that mends it; nothing asks the machine."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from tritonfleet.progress import size_text
from tritonfleet.runtimes.doctor.facts import Facts, RuntimeFact
from tritonfleet.runtimes.kinds import GIB, KINDS

Level = Literal["ok", "warn", "fail"]

MIB = 1 << 20
#: NVIDIA asks for 1 GiB in its own `docker run` lines; Docker's default is 64 MiB.
SHM_WANTED_BYTES = GIB
SHM_NEEDED_BYTES = 64 * MIB
#: A streamed request holds a socket in Triton, in the bridge and in the engine; 256 of them must fit beside the rest.
OPEN_FILES_WANTED = 4096
OPEN_FILES_NEEDED = 512
#: For weights, logs and what pip unpacks.
SPARE_BYTES = GIB
VLLM_TRACES_PACKAGES = "opentelemetry-sdk opentelemetry-exporter-otlp"


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report."""

    check: str
    level: Level
    detail: str
    fix: str = ""
    """What mends it: a command where there is one. Empty when nothing is to be done."""


def examine(facts: Facts) -> tuple[Finding, ...]:
    """Return every finding, in the order in which a person would mend them."""
    return tuple(finding for check in _CHECKS for finding in check(facts))


def _python(facts: Facts) -> Iterator[Finding]:
    detail = f"{'.'.join(map(str, facts.python_version))} at {facts.python}"
    if (3, 11) <= facts.python_version < (3, 14):
        yield Finding("python", "ok", detail)
    else:
        yield Finding("python", "warn", f"{detail}; tritonfleet is tested with 3.11 to 3.13", "use Python 3.12")


def _triton(facts: Facts) -> Iterator[Finding]:
    for fact in facts.runtimes:
        if fact.kind == "triton":
            yield _runtime(fact)


def _runtime(fact: RuntimeFact) -> Finding:
    kind = KINDS[fact.kind]
    if fact.runtime is not None:
        return Finding(fact.kind, "ok", f"{fact.runtime.version} ({fact.runtime.origin}) {fact.runtime.executable}")
    if fact.problem:
        return Finding(fact.kind, "fail", "not here" if not kind.buildable else "cannot be used", fact.problem)
    return Finding(
        fact.kind,
        "warn",
        f"not installed yet; `tritonfleet up` installs it (needs {size_text(kind.needs_bytes)})",
        f"tritonfleet runtime install {fact.kind}",
    )


def _libpython(facts: Facts) -> Iterator[Finding]:
    """Tell which libpython Triton's stub embeds; where there is none, Triton's own line says so."""
    if facts.libpython:
        yield Finding("libpython", "ok", f"in {facts.libpython}, for Triton's stub")


def _bridge(facts: Facts) -> Iterator[Finding]:
    if facts.bridge_lacks:
        triton = next(fact.runtime for fact in facts.runtimes if fact.kind == "triton")
        python = triton.paths["stub_python"] if triton else "python3"
        missing = " ".join(facts.bridge_lacks)
        yield Finding(
            "bridge", "fail", f"Triton's Python {python} lacks {missing}", f"{python} -m pip install {missing}"
        )


def _engines(facts: Facts) -> Iterator[Finding]:
    for fact in facts.runtimes:
        if fact.kind != "triton" and (fact.needed or fact.runtime is not None):
            yield _runtime(fact)


def _traces(facts: Facts) -> Iterator[Finding]:
    """Tell who can send spans: the gateway refuses to start without OpenTelemetry, and so does vLLM."""
    for fact in facts.traces:
        if not fact.lacks:
            yield Finding("traces", "ok", f"{fact.program} has OpenTelemetry")
            continue
        wanted = "'tritonfleet[otel]'" if fact.program == "gateway" else VLLM_TRACES_PACKAGES
        yield Finding(
            "traces",
            "fail",
            f"{fact.program} is to send traces, and its Python {fact.python} lacks {' '.join(fact.lacks)}",
            f"{fact.python} -m pip install {wanted}, or remove `tracing` from fleet.yaml",
        )


def _gpus(facts: Facts) -> Iterator[Finding]:
    gpu = facts.gpu
    if gpu.problem:
        yield Finding(
            "gpu",
            "fail",
            f"the NVIDIA driver does not answer: {gpu.problem}",
            "run nvidia-smi; reload the driver or reboot",
        )
    elif facts.gpus_named > len(gpu.gpus):
        have = f"GPUs 0 to {len(gpu.gpus) - 1}" if gpu.gpus else "no GPU"
        yield Finding(
            "gpu",
            "fail",
            f"the fleet names GPU {facts.gpus_named - 1}, and this machine has {have}",
            "change `devices` in fleet.yaml",
        )
    elif not gpu.gpus:
        yield Finding("gpu", "ok", "none; models run on the CPU")
    for index, one in enumerate(gpu.gpus):
        yield Finding("gpu", "ok", f"{index}: {one.name}, {size_text(one.memory_bytes)}, driver {gpu.driver}")


def _shm(facts: Facts) -> Iterator[Finding]:
    detail = f"/dev/shm has {size_text(facts.shm_bytes)}"  # noqa: S108 - a text
    if facts.shm_bytes >= SHM_WANTED_BYTES:
        yield Finding("shared memory", "ok", detail)
        return
    level: Level = "fail" if facts.shm_bytes < SHM_NEEDED_BYTES else "warn"
    fix = "docker run --shm-size=1g, an emptyDir with medium Memory, or mount -o remount,size=1G /dev/shm"
    yield Finding("shared memory", level, f"{detail}; Triton's models want {size_text(SHM_WANTED_BYTES)}", fix)


def _ports(facts: Facts) -> Iterator[Finding]:
    if facts.fleet_running:
        yield Finding("ports", "ok", "held by the fleet, which is up")
        return
    taken = [port for port in facts.ports if port.problem]
    for port in taken:
        yield Finding(
            "ports",
            "fail",
            f"doors.{port.door}: {port.host}:{port.port}: {port.problem}",
            f"stop that program, or choose another address under doors.{port.door}",
        )
    if not taken:
        yield Finding("ports", "ok", ", ".join(f"{port.door} {port.port}" for port in facts.ports) + " are free")


def _doors(facts: Facts) -> Iterator[Finding]:
    """Warn when the wheel's Triton, which is old, would face other machines."""
    triton = next((fact.runtime for fact in facts.runtimes if fact.kind == "triton"), None)
    if triton is not None and not triton.env:  # the wheel's stub needs an environment, a container's does not
        return
    for port in facts.ports:
        if port.door != "openai" and not _loopback(port.host):
            yield Finding(
                "doors",
                "warn",
                f"doors.{port.door} listens on {port.host}, and the Triton from PyPI has known holes",
                "listen on 127.0.0.1, keep a firewall before it, or use NVIDIA's container",
            )


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _disk(facts: Facts) -> Iterator[Finding]:
    missing = [fact.kind for fact in facts.runtimes if fact.needed and fact.runtime is None]
    needed = sum(KINDS[kind].needs_bytes for kind in missing) + SPARE_BYTES
    detail = f"{size_text(facts.cache_free_bytes)} free for {facts.cache}"
    if not facts.cache_writable:
        yield Finding("disk", "fail", f"{facts.cache} cannot be written", "name another folder in TRITONFLEET_CACHE")
    elif facts.cache_free_bytes < needed:
        what = f"{', '.join(missing)} and some room need" if missing else "weights and logs need"
        yield Finding(
            "disk",
            "fail" if missing else "warn",
            f"{detail}; {what} {size_text(needed)}",
            "make room, or name another folder in TRITONFLEET_CACHE",
        )
    else:
        yield Finding("disk", "ok", detail)


def _open_files(facts: Facts) -> Iterator[Finding]:
    detail = f"a process may open {facts.open_files} files"
    if facts.open_files >= OPEN_FILES_WANTED:
        yield Finding("file limit", "ok", detail)
        return
    level: Level = "fail" if facts.open_files < OPEN_FILES_NEEDED else "warn"
    if facts.open_files_hard >= OPEN_FILES_WANTED:
        fix = f"ulimit -n {min(facts.open_files_hard, 65536)}"
    else:
        fix = "raise nofile in /etc/security/limits.conf (or LimitNOFILE of the service) to 65536"
    yield Finding("file limit", level, f"{detail}; many requests at once want {OPEN_FILES_WANTED}", fix)


def _locale(facts: Facts) -> Iterator[Finding]:
    if facts.encoding.lower().replace("-", "") == "utf8":
        yield Finding("locale", "ok", facts.encoding)
    else:
        yield Finding("locale", "warn", f"text is {facts.encoding}, not UTF-8", "export LC_ALL=C.UTF-8")


#: In the order in which a person would mend them.
_CHECKS = (
    _python,
    _libpython,
    _triton,
    _bridge,
    _engines,
    _traces,
    _gpus,
    _shm,
    _ports,
    _doors,
    _disk,
    _open_files,
    _locale,
)
