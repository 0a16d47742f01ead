"""Builds: from an index to an environment that counts as installed, or to nothing at all."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pytest

from tests.runtimes.conftest import MINOR, Workshop, open_workshop, write_wheel
from tritonfleet.errors import RuntimeMissing
from tritonfleet.progress import Transfer, silent
from tritonfleet.runtimes.build import build, fitting, missing_libraries
from tritonfleet.runtimes.interpreters import Interpreter, Wanted
from tritonfleet.runtimes.store import Installed

#: Builds the kind of the fixture in another process, which a test can kill.
CHILD = """
import os, sys
from dataclasses import replace
from pathlib import Path
from tritonfleet.progress import silent
from tritonfleet.runtimes import build
from tritonfleet.runtimes.interpreters import Wanted, probe
from tritonfleet.runtimes.kinds import Kind
from tritonfleet.runtimes.store import Store
cache, minor, verify = sys.argv[1:]
here = replace(probe(Path(sys.executable), os.environ), has_venv=False)
build.available = lambda environ: iter([here])
kind = Kind("demo", "", "beta", pins=("alpha==1.0", "beta==2.0"), python=Wanted((minor,)), verify=verify)
print(build.build(kind, Store(Path(cache)), dict(os.environ), silent).folder)
"""


def child(workshop: Workshop, verify: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD, str(workshop.cache), MINOR, verify]
    return subprocess.Popen(command, env=workshop.environ, stdout=subprocess.PIPE, text=True)


@dataclass(frozen=True)
class Finished:
    """A build that is done, for tests that only look at it."""

    workshop: Workshop
    built: Installed
    shown: list[Transfer]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The usual way: a venv with its own pip, beside settings that would send packages elsewhere."""
    folder = tmp_path_factory.mktemp("finished")
    workshop = open_workshop(folder)
    workshop.environ.update(PIP_TARGET=str(folder / "elsewhere"), PIP_USER="1")
    shown: list[Transfer] = []
    return Finished(workshop, build(workshop.kind, workshop.store, workshop.environ, shown.append), shown)


def test_what_was_built_counts_and_runs(finished: Finished) -> None:
    """Its Python imports what was pinned, and the folder is its own prefix."""
    built = finished.built
    assert finished.workshop.store.get(finished.workshop.kind) == built
    assert built.manifest.version == "2.0"
    assert built.manifest.size_bytes > 0
    code = "import beta, sys; print(sys.prefix)"
    ran = subprocess.run([str(built.python), "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == str(built.folder)


def test_the_host_does_not_leak_in(finished: Finished) -> None:
    """The environment holds the pins, its pip, and nothing of the Python that built it."""
    names = {
        path.name.partition("-")[0] for path in finished.built.folder.glob("lib/python*/site-packages/*.dist-info")
    }
    assert {"alpha", "beta"} <= names <= {"alpha", "beta", "pip", "setuptools"}


def test_settings_that_would_install_elsewhere_are_ignored(finished: Finished) -> None:
    """PIP_TARGET and the like belong to the user's other work."""
    assert not Path(finished.workshop.environ["PIP_TARGET"]).exists()


def test_progress_counts_to_the_end(finished: Finished) -> None:
    """Every line that is begun ends, at its total."""
    last = {transfer.label: transfer for transfer in finished.shown}
    assert {"demo: fetching", "demo: installing"} <= set(last)
    assert all(transfer.done == transfer.total for transfer in last.values())
    assert all(0 <= transfer.done <= transfer.total for transfer in finished.shown)


def test_a_second_build_finds_the_first(finished: Finished) -> None:
    """What is installed is not touched again."""
    workshop, first = finished.workshop, finished.built
    before = first.folder.stat().st_mtime_ns
    assert build(workshop.kind, workshop.store, workshop.environ, silent) == first
    assert first.folder.stat().st_mtime_ns == before


def test_torch_that_needs_cuda_libraries_gets_them(finished: Finished) -> None:
    """The CUDA build of torch declares libraries that the pins leave out; those are added, triton is not."""
    info = next(finished.built.folder.glob("lib/python*/site-packages")) / "torch-2.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: torch\nVersion: 2.0\nRequires-Dist: nvidia-nothing-cu13==1.0; "
        "platform_system == 'Linux'\nRequires-Dist: triton==3.0\nRequires-Dist: nvidia-more; extra == 'more'\n"
    )
    needed = missing_libraries(finished.built.python, finished.workshop.environ)
    assert [need.partition("=")[0] for need in needed] == ["nvidia-nothing-cu13"]


@pytest.mark.usefixtures("quick")
class TestQuick:
    """Builds with the running Python's pip, as where a Python has no ensurepip."""

    def test_a_missing_package_fails_with_pips_words(self, workshop: Workshop) -> None:
        """The message has pip's last lines, the log, and the next step; nothing is left behind."""
        kind = replace(workshop.kind, pins=("beta==2.0", "gamma==3.0"))
        with pytest.raises(RuntimeMissing, match=r"No matching distribution found for gamma==3\.0") as caught:
            build(kind, workshop.store, workshop.environ, silent)
        assert str(workshop.store.log(kind)) in str(caught.value)
        assert "tritonfleet runtime install demo" in str(caught.value)
        assert not workshop.store.folder(kind).exists()

    def test_an_environment_that_cannot_work_never_counts(self, workshop: Workshop) -> None:
        """A failing trial import is a failed build."""
        kind = replace(workshop.kind, verify="raise SystemError('wrong glibc')")
        with pytest.raises(RuntimeMissing, match="wrong glibc"):
            build(kind, workshop.store, workshop.environ, silent)
        assert workshop.store.all() == ()
        assert not workshop.store.folder(kind).exists()

    def test_too_little_disk_is_said_before_anything_is_fetched(self, workshop: Workshop) -> None:
        """The message has both numbers and the way out."""
        kind = replace(workshop.kind, needs_bytes=1 << 60)
        with pytest.raises(RuntimeMissing, match=r"needs 1048576\.0 TiB.*TRITONFLEET_CACHE"):
            build(kind, workshop.store, workshop.environ, silent)

    def test_ctrl_c_ends_pip_and_clears_the_folder(self, workshop: Workshop) -> None:
        """An interruption from within leaves no process and no folder."""

        def interrupt(transfer: Transfer) -> None:
            if transfer.label == "demo: installing":
                raise KeyboardInterrupt

        others = set(psutil.Process().children())
        with pytest.raises(KeyboardInterrupt):
            build(workshop.kind, workshop.store, workshop.environ, interrupt)
        assert not workshop.store.folder(workshop.kind).exists()
        assert not set(psutil.Process().children()) - others

    def test_a_build_killed_half_way_is_never_used_and_cleared_by_the_next(
        self, workshop: Workshop, tmp_path: Path
    ) -> None:
        """SIGKILL in the middle: the folder does not count, its child processes end, the next build succeeds."""
        fifo = tmp_path / "reached"
        os.mkfifo(fifo)
        verify = f"import os; open({str(fifo)!r}, 'w').write(str(os.getpid())); open({str(fifo)!r}).read()"
        killed = child(workshop, verify)
        trial = os.pidfd_open(int(fifo.read_text()))
        killed.send_signal(signal.SIGKILL)
        killed.communicate(timeout=10)
        assert select.select([trial], [], [], 10)[0], "the child process of the killed build lives on"
        os.close(trial)
        folder = workshop.store.folder(workshop.kind)
        assert (folder / "bin/python3").exists()
        assert workshop.store.get(workshop.kind) is None
        (folder / "left-over").write_text("")
        assert build(workshop.kind, workshop.store, workshop.environ, silent).folder == folder
        assert not (folder / "left-over").exists()

    def test_two_builds_at_once_build_once(self, workshop: Workshop, tmp_path: Path) -> None:
        """The second waits for the first and takes what it built."""
        trials = tmp_path / "trials"
        verify = f"import beta; open({str(trials)!r}, 'a').write('tried\\n')"
        both = [child(workshop, verify) for _ in range(2)]
        answers = {process.communicate(timeout=60)[0].strip() for process in both}
        assert answers == {str(workshop.store.folder(workshop.kind))}
        assert trials.read_text() == "tried\n"

    def test_who_waits_for_another_build_is_told(self, workshop: Workshop) -> None:
        """A wait is shown as work that goes on elsewhere."""
        told: list[str] = []
        with workshop.store.locked(workshop.kind):
            waiter = child(workshop, "import beta")
            assert waiter.poll() is None
            assert not workshop.store.folder(workshop.kind).exists()
        assert waiter.communicate(timeout=60)[0].strip() == str(workshop.store.folder(workshop.kind))
        build(workshop.kind, workshop.store, workshop.environ, lambda transfer: told.append(transfer.label))
        assert told == ["demo: another process installs it"]  # its end; a line that was never begun is not shown

    def test_new_pins_get_a_folder_of_their_own(self, workshop: Workshop) -> None:
        """An upgrade never changes an environment that a running fleet uses."""
        old = build(workshop.kind, workshop.store, workshop.environ, silent)
        write_wheel(workshop.index, "beta", "2.1")
        newer = replace(workshop.kind, pins=("alpha==1.0", "beta==2.1"))
        new = build(newer, workshop.store, workshop.environ, silent)
        assert {old.folder, new.folder} == set(workshop.complete_folders())
        assert workshop.store.get(workshop.kind) == old

    def test_a_damaged_build_is_built_again(self, workshop: Workshop) -> None:
        """Its base Python was removed: it does not count, and the next build replaces it."""
        first = build(workshop.kind, workshop.store, workshop.environ, silent)
        first.python.unlink()
        first.python.symlink_to("/nowhere/python3")
        assert workshop.store.get(workshop.kind) is None
        assert build(workshop.kind, workshop.store, workshop.environ, silent).damage is None


def test_a_python_that_must_compile_comes_last(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even when it is the one that runs tritonfleet: a wheel takes seconds, a compiler minutes."""
    new, old = (Interpreter(Path(f"/opt/{minor}/bin/python3"), (3, minor, 0), Path("/opt/lib")) for minor in (13, 11))
    monkeypatch.setattr("tritonfleet.runtimes.build.available", lambda environ: iter([new, old]))
    monkeypatch.setattr("shutil.which", lambda name, path=None: f"/usr/bin/{name}")
    kind = replace(workshop.kind, python=Wanted(("3.11", "3.12"), compiled={"3.13": ("alpha",)}))
    assert fitting(kind, workshop.environ) == [old, new]


def test_no_fitting_python_names_each_and_what_it_lacks(
    workshop: Workshop, here: Interpreter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message lists every Python with its reason and says how to get another."""
    pythons = [
        Interpreter(Path("/usr/bin/python3.12"), (3, 12, 3), None),
        Interpreter(Path("/home/me/.pyenv/versions/3.11.7/bin/python3.11"), (3, 11, 7), None),
        Interpreter(Path("/usr/bin/python3.13"), (3, 13, 0), Path("/usr/lib")),
    ]
    monkeypatch.setattr("tritonfleet.runtimes.build.available", lambda environ: iter(pythons))
    kind = replace(workshop.kind, python=Wanted(("3.11", "3.12"), libpython=True))
    with pytest.raises(RuntimeMissing) as caught:
        fitting(kind, workshop.environ)
    text = str(caught.value)
    assert "apt-get install libpython3.12" in text
    assert "PYTHON_CONFIGURE_OPTS=--enable-shared pyenv install --force 3.11.7" in text
    assert "/usr/bin/python3.13 (3.13.0): the version must be 3.11 or 3.12" in text
    assert "uv python install 3.12" in text
