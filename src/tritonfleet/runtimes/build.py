"""Build a runtime: choose a Python, make its environment, install the pins, try it, and only then let it count."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from tritonfleet.errors import RuntimeMissing
from tritonfleet.progress import Progress, Transfer, size_text
from tritonfleet.runtimes import pip
from tritonfleet.runtimes.interpreters import Interpreter, available
from tritonfleet.runtimes.kinds import Kind
from tritonfleet.runtimes.store import Installed, Manifest, Store, clear
from tritonfleet.runtimes.triton import place_stub, site_packages, stub_environment, wheel_server

log = logging.getLogger(__name__)


def build(kind: Kind, store: Store, environ: Mapping[str, str], progress: Progress) -> Installed:
    """Return *kind* as installed in *store*, building it if it is not; raise RuntimeMissing with the reason.

    Two processes that build the same kind do so one after the other, and the second one finds it done.
    """

    def waiting() -> None:
        log.info("another process builds the runtime %s; waiting for it", kind.name)
        progress(Transfer(f"{kind.name}: another process installs it", 0, 1, "packages"))

    with store.locked(kind, waiting) as lock:
        done = store.get(kind)
        if done is None:
            _check_disk(kind, store.root)
            for leftover in (*store.leftovers(kind), store.folder(kind)):
                clear(leftover)
            done = _Build(kind, store, environ, progress, lock).run()
    progress(Transfer(f"{kind.name}: another process installs it", 1, 1, "packages"))
    return done


def _check_disk(kind: Kind, root: Path) -> None:
    free = shutil.disk_usage(root).free
    if free < kind.needs_bytes:
        raise RuntimeMissing(
            f"the runtime {kind.name} needs {size_text(kind.needs_bytes)} in {root}, and {size_text(free)} are free; "
            "make room, or name another folder in TRITONFLEET_CACHE"
        )


def choose_python(kind: Kind, environ: Mapping[str, str], scratch: Path) -> Interpreter:
    """Return the Python to build *kind* with; raise RuntimeMissing as ``fitting`` does."""
    fit = fitting(kind, environ)
    return _preferred(kind, fit, environ, scratch) if kind.prefers else fit[0]


def fitting(kind: Kind, environ: Mapping[str, str]) -> list[Interpreter]:
    """Return the Pythons that *kind* can be built with, best first, never none.

    Raises RuntimeMissing naming every Python found and what it lacks.
    """
    refusals = []
    fit = []
    compiler = all(shutil.which(program, path=environ.get("PATH")) for program in ("cc", "c++"))
    for python in available(environ):
        refusal = kind.python.refusal(python, compiler=compiler)
        if refusal is None and not (python.has_venv or pip.host_runner()):
            refusal = f"{python}: it cannot make virtual environments (apt-get install python{python.minor}-venv)"
        if refusal:
            refusals.append(refusal)
        else:
            fit.append(python)
    if fit:
        return sorted(fit, key=lambda python: python.minor in kind.python.compiled)
    found = "".join(f"\n  {refusal}" for refusal in refusals)
    minors = " or ".join(kind.python.minors)
    raise RuntimeMissing(
        f"the runtime {kind.name} needs a CPython {minors}, and none that can be used is on this machine:{found}\n"
        f"Install one (for example `uv python install {kind.python.minors[-1]}`, or your system's packages) and run "
        f"`tritonfleet runtime install {kind.name}` again"
    )


def _preferred(kind: Kind, fit: list[Interpreter], environ: Mapping[str, str], scratch: Path) -> Interpreter:
    """Return the first Python for which pip offers a CPU build of ``kind.prefers``, else the first of all."""
    asker = Path(sys.executable) if pip.host_runner() else next((one.executable for one in fit if one.has_pip), None)
    requirement = f"{kind.prefers}=={kind.pinned(kind.prefers)}"
    if asker is not None:
        for minor in dict.fromkeys(python.minor for python in fit):
            version = pip.offered_version(requirement, minor, scratch=scratch, environ=environ, pip=asker)
            if version is not None and version.endswith("+cpu"):
                return next(python for python in fit if python.minor == minor)
    return fit[0]


class _Build:
    """One build, under the lock of its kind."""

    def __init__(self, kind: Kind, store: Store, environ: Mapping[str, str], progress: Progress, lock: int) -> None:
        self._kind = kind
        self._store = store
        self._environ = environ
        self._progress = progress
        self._lock = lock
        self._folder = store.folder(kind)
        self._python = self._folder / "bin/python3"

    def run(self) -> Installed:
        """Build, and clear away what was begun if it fails or is interrupted."""
        started = time.monotonic()
        self._say("fetching", 0, "making its Python environment")
        base = choose_python(self._kind, self._environ, self._folder)
        try:
            with self._store.log(self._kind).open("w", encoding="utf-8") as output:
                output.write(f"{self._kind.name} {self._kind.version} with {base}\n")
                self._make_environment(base, output)
                self._install(base, output)
                self._verify(base, output)
            return self._store.complete(self._folder, self._manifest(base, time.monotonic() - started))
        except BaseException:
            clear(self._folder)
            raise

    def _say(self, phase: str, done: int, note: str = "", *, total: int | None = None) -> None:
        of = len(self._kind.pins) if total is None else total
        self._progress(Transfer(f"{self._kind.name}: {phase}", done, of, "packages", note))

    def _run(self, doing: str, command: list[str], output: TextIO, environ: Mapping[str, str]) -> None:
        child = pip.Child(command, environ, output, (self._lock,))
        status = child.run(lambda line: None, lambda: None)
        if status:
            raise pip.failed(self._kind.name, doing, status, self._store.log(self._kind))

    def _make_environment(self, base: Interpreter, output: TextIO) -> None:
        words = [*([] if base.has_venv else ["--without-pip"]), str(self._folder)]
        command = pip.tied_module(base.executable, "venv", words)
        self._run("making the virtual environment", command, output, pip.environment(self._environ))

    def _install(self, base: Interpreter, output: TextIO) -> None:
        pins = self._folder / "pins.txt"
        pins.write_text("\n".join(self._kind.pins) + "\n", encoding="utf-8")
        compiled = [f"--no-binary={name}" for name in self._kind.python.compiled.get(base.minor, ())]
        self._pip(base, ["--no-deps", *compiled, f"--requirement={pins}"], output, len(self._kind.pins))
        libraries = missing_libraries(self._python, self._environ)
        if libraries:
            # More may come than are named here: they need others in turn.
            self._pip(base, libraries, output, len(libraries), " CUDA libraries of torch")

    def _pip(self, base: Interpreter, arguments: list[str], output: TextIO, total: int, what: str = "") -> None:
        def report(step: pip.Step) -> None:
            if step.phase == "installing":
                self._say(f"fetching{what}", total, total=total)
            self._say(f"{step.phase}{what}", min(step.packages, total - 1), step.note, total=total)

        status = pip.install(
            self._python,
            arguments,
            site=site_packages(self._folder, base.minor),
            log=output,
            environ=self._environ,
            runner=None if base.has_venv else pip.host_runner(),
            keep=(self._lock,),
            report=report,
        )
        if status:
            raise pip.failed(self._kind.name, "pip", status, self._store.log(self._kind))
        if what:
            self._say(f"installing{what}", total, total=total)

    def _verify(self, base: Interpreter, output: TextIO) -> None:
        total = len(self._kind.pins)
        self._say("installing", total - 1, "trying it")
        environ = pip.environment(self._environ)
        if self._kind.name == "triton":
            server = wheel_server(self._folder, base.minor)
            place_stub(server, base.minor)
            assert base.libdir is not None
            environ |= stub_environment(self._python, base.libdir, server, environ)
            _check_usage(server, environ, self._store.log(self._kind))
        self._run("importing it", pip.tied(self._python, self._kind.verify), output, environ)
        self._say("installing", total)

    def _manifest(self, base: Interpreter, seconds: float) -> Manifest:
        return Manifest(
            kind=self._kind.name,
            version=self._kind.version,
            python=str(base.executable),
            python_version=".".join(map(str, base.version)),
            libdir=str(base.libdir) if self._kind.python.libpython else None,
            size_bytes=sum(path.lstat().st_size for path in self._folder.rglob("*")),
            seconds=round(seconds, 1),
        )


def missing_libraries(python: Path, environ: Mapping[str, str]) -> list[str]:
    """Return the CUDA libraries that the environment's torch declares and does not have.

    The pins leave them out: a CPU build of torch declares none. The CUDA build does not even import without them.
    """
    code = (
        "import importlib.metadata as m, re\n"
        "for need in (m.requires('torch') or ()) if any(True for _ in m.distributions(name='torch')) else ():\n"
        "    name, _, marker = need.partition(';')\n"
        "    if re.match(r'(nvidia|cuda)-', name) and 'extra' not in marker:\n"
        "        try: m.version(re.match(r'[\\w-]+', name)[0])\n"
        "        except m.PackageNotFoundError: print(need)\n"
    )
    result = subprocess.run(
        [str(python), "-I", "-c", code], capture_output=True, text=True, env=dict(environ), check=False
    )
    if result.returncode:
        raise RuntimeMissing(f"{python} does not tell what torch needs: {result.stderr.strip()[-500:]}")
    return result.stdout.splitlines()


def _check_usage(server: Path, environ: Mapping[str, str], path: Path) -> None:
    """Start tritonserver as far as its usage text: it needs all its libraries for that."""
    result = subprocess.run([str(server), "--help"], capture_output=True, text=True, env=dict(environ), check=False)
    if "--model-repository" not in result.stdout + result.stderr:
        raise RuntimeMissing(
            f"the runtime triton could not be built: tritonserver does not start here (status {result.returncode}): "
            f"{result.stderr.strip()[-500:]}; pip's output is in {path}"
        )
