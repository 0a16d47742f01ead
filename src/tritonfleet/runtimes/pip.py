"""Run pip inside an environment: its noise goes to a log file, its steps become progress.

pip is run as the user configured it (index, certificates, proxies); only settings that would install elsewhere are
left out. pip dies with the process that started it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import select
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TextIO

from tritonfleet.errors import RuntimeMissing
from tritonfleet.progress import size_text

#: Asks the kernel to end this process when its parent ends (PR_SET_PDEATHSIG): a killed install leaves no pip behind.
_TIE = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() != int(sys.argv.pop(1)):
    sys.exit("the process that started this one has ended")
"""
_RUN_MODULE = "import runpy; sys.argv.pop(0); runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"
#: pip's own way to work on another environment (`pip --python`, pip 22.3 and later), without its second process.
_RUN_FILE = "import runpy; sys.argv.pop(0); runpy.run_path(sys.argv[0], run_name='__main__')"
#: They would send the packages to another folder than the environment.
_MISLEADING = ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER", "PIP_REQUIRE_VIRTUALENV", "PYTHONPATH", "PYTHONHOME")
#: pip's complaints about optional places that are not there; they hide the line that matters.
_NOISE = re.compile(r"^(WARNING: Location|Looking in|WARNING: There was an error checking|\[notice\])")
_COMPILING = re.compile(r"(?:Preparing metadata|Building wheel for (\S+)) \(pyproject\.toml\)")
_SIZE = re.compile(r"\(([\d.]+) (bytes|kB|MB|GB)\)")
_UNITS = {"bytes": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9}
POLL_SECONDS = 0.5
LAST_LINES = 12


@dataclass(frozen=True)
class Step:
    """Where pip is."""

    phase: str = "fetching"
    packages: int = 0
    """Packages fetched, then installed."""
    fetched_bytes: int = 0
    compiling: str = ""
    """What is being compiled, which takes minutes."""
    elapsed_seconds: float = 0.0

    @property
    def note(self) -> str:
        """Size and time, for the end of a progress line."""
        doing = f", compiling {self.compiling}" if self.compiling else ""
        return f"{size_text(self.fetched_bytes)}{doing}, {self.elapsed_seconds:.0f} s"


@dataclass
class Reading:
    """What pip's lines told so far."""

    step: Step = field(default_factory=Step)
    collecting: str = ""
    """The package that pip looks at."""

    def take(self, line: str) -> None:
        """Read one line of pip's output."""
        text = line.strip()
        if text.startswith("Collecting "):
            self.step = replace(self.step, packages=self.step.packages + 1, compiling="")
            self.collecting = text.split()[1].partition("=")[0]
        elif found := _COMPILING.match(text):
            compiling = "" if "finished" in text else found[1] or self.collecting
            self.step = replace(self.step, compiling=compiling)
        elif text.startswith("Installing collected packages"):
            self.step = replace(self.step, phase="installing", packages=0, compiling="")
        elif text.startswith(("Downloading ", "Using cached ")) and (size := _SIZE.search(text)):
            count = int(float(size[1]) * _UNITS[size[2]])
            self.step = replace(self.step, fetched_bytes=self.step.fetched_bytes + count)
        elif text.startswith("Processing /"):
            count = _size_of(Path(text.removeprefix("Processing ").partition(" (from")[0]))
            self.step = replace(self.step, fetched_bytes=self.step.fetched_bytes + count)


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for pip: the user's, without what would mislead it."""
    kept = {name: value for name, value in environ.items() if name not in _MISLEADING}
    return {**kept, "PYTHONUNBUFFERED": "1", "PYTHONNOUSERSITE": "1"}


def tied(python: Path, code: str, arguments: Sequence[str] = ()) -> list[str]:
    """Return the command that runs *code* in *python*; it ends when the present process ends."""
    return [str(python), "-c", _TIE + code, str(os.getpid()), *arguments]


def tied_module(python: Path, module: str, arguments: Sequence[str]) -> list[str]:
    """Return the command that runs ``python -m module``, tied as in ``tied``."""
    return tied(python, _RUN_MODULE, [module, *arguments])


def host_runner() -> Path | None:
    """Return the file that makes the running Python's pip work in another Python, or None where there is none."""
    spec = importlib.util.find_spec("pip")
    runner = Path(spec.origin).with_name("__pip-runner__.py") if spec is not None and spec.origin else None
    return runner if runner is not None and runner.exists() else None


@dataclass
class Child:
    """A child process whose output goes to a log and is read as it comes."""

    command: Sequence[str]
    environ: Mapping[str, str]
    log: TextIO
    keep: Sequence[int] = ()
    """Descriptors that the child inherits (the build's lock)."""

    def run(self, line_came: Callable[[str], None], tick: Callable[[], None]) -> int:
        """Run to the end and return the exit status; *tick* is called about twice a second.

        Whatever is raised meanwhile (Ctrl-C) ends the child first.
        """
        process = subprocess.Popen(
            self.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(self.environ),
            pass_fds=tuple(self.keep),
        )
        try:
            for line in _lines(process, tick):
                self.log.write(f"{line}\n")
                line_came(line)
            self.log.flush()
            return process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise


def _lines(process: subprocess.Popen[bytes], tick: Callable[[], None]) -> Iterator[str]:
    """Yield the output's lines as they come, calling *tick* while there are none."""
    assert process.stdout is not None
    descriptor = process.stdout.fileno()
    rest = b""
    with process.stdout:
        while True:
            if not select.select([descriptor], [], [], POLL_SECONDS)[0]:
                tick()
                continue
            chunk = os.read(descriptor, 65536)
            if not chunk:
                break
            *lines, rest = (rest + chunk).split(b"\n")
            yield from (line.decode(errors="replace") for line in lines)
            tick()
    if rest:
        yield rest.decode(errors="replace")


def last_words(log: Path, count: int = LAST_LINES) -> str:
    """Return the last lines of a log that say something."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join([f"  {line}" for line in lines if line.strip() and not _NOISE.match(line)][-count:])


def install(
    python: Path,
    arguments: Sequence[str],
    *,
    site: Path,
    log: TextIO,
    environ: Mapping[str, str],
    runner: Path | None,
    keep: Sequence[int],
    report: Callable[[Step], None],
) -> int:
    """Run ``pip install`` for the environment of *python* and return its exit status.

    *site* is the environment's site-packages, where installed packages are counted; *runner* is another Python's pip
    (see ``host_runner``) that does the work when the environment has none.
    """
    words = ["install", "--no-input", "--only-binary=:all:"]
    words += ["--disable-pip-version-check", "--progress-bar=off", *arguments]
    reading = Reading()
    started = time.monotonic()
    before = _installed(site)

    def tick() -> None:
        step = replace(reading.step, elapsed_seconds=time.monotonic() - started)
        if step.phase == "installing":
            step = replace(step, packages=_installed(site) - before)
        report(step)

    command = tied(python, _RUN_FILE, [str(runner), *words]) if runner else tied_module(python, "pip", words)
    return Child(command, environment(environ), log, keep).run(reading.take, tick)


def _installed(site: Path) -> int:
    return sum(1 for _ in site.glob("*.dist-info/RECORD"))


def offered_version(
    requirement: str, minor: str, *, scratch: Path, environ: Mapping[str, str], pip: Path
) -> str | None:
    """Return the version that pip would install of *requirement* on CPython *minor*, or None if there is none.

    Nothing is installed; *scratch* is a folder name that pip wants and does not use.
    """
    command = [str(pip), "-m", "pip", "install", "--dry-run", "--quiet", "--no-deps", "--no-input", "--report=-"]
    command += ["--only-binary=:all:", "--implementation=cp", f"--python-version={minor}", f"--target={scratch}"]
    result = subprocess.run(
        [*command, requirement], capture_output=True, text=True, env=environment(environ), check=False
    )
    try:
        return str(json.loads(result.stdout)["install"][0]["metadata"]["version"])
    except (ValueError, LookupError):
        return None


def failed(kind: str, doing: str, status: int, log: Path) -> RuntimeMissing:
    """Return the error of a build step that ended with *status*."""
    return RuntimeMissing(
        f"the runtime {kind} could not be built: {doing} ended with status {status}:\n{last_words(log)}\n"
        f"All of it is in {log}. Mend the cause and run `tritonfleet runtime install {kind}` again"
    )
