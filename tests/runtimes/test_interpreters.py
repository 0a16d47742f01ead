"""Interpreters: what is found on a machine, and what is said of each."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tritonfleet.runtimes.interpreters import Interpreter, Wanted, available, libpython_hint, probe


def fake_python(path: Path, *, version: tuple[int, int, int], libdir: str | None = "/usr/lib") -> Path:
    """Write a program that answers the probe as a Python of *version* would."""
    facts = {
        "executable": str(path),
        "version": version,
        "implementation": "cpython",
        "libdir": libdir,
        "venv": True,
        "pip": True,
        "headers": True,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\ncat <<'END'\n{json.dumps(facts)}\nEND\n")
    path.chmod(0o755)
    return path


def test_the_running_python_is_what_it_says(here: Interpreter) -> None:
    """The base program is named, not the virtual environment's link."""
    assert here.version == sys.version_info[:3]
    assert not here.executable.is_symlink()
    assert here.executable.parents[1] == Path(sys.base_prefix).resolve()


def test_a_shim_that_fails_is_no_python(tmp_path: Path) -> None:
    """pyenv's shim of a version that is not active prints an error and fails."""
    shim = tmp_path / "python3.12"
    shim.write_text("#!/bin/sh\necho 'pyenv: python3.12: command not found' >&2\nexit 127\n")
    shim.chmod(0o755)
    assert probe(shim, os.environ) is None
    assert probe(tmp_path / "absent", os.environ) is None


def test_pythons_are_found_on_the_path_in_pyenv_and_in_uvs_folder(tmp_path: Path) -> None:
    """Each once, the running one first, newer versions before older ones, shims left out."""
    on_path = fake_python(tmp_path / "bin/python3.12", version=(3, 12, 9))
    (tmp_path / "bin/python3").symlink_to(on_path)
    fake_python(tmp_path / "pyenv/shims/python3.12", version=(3, 12, 0))
    old = fake_python(tmp_path / "pyenv/versions/3.9.1/bin/python3", version=(3, 9, 1))
    new = fake_python(tmp_path / "pyenv/versions/3.11.10/bin/python3", version=(3, 11, 10))
    uv = fake_python(tmp_path / "uv/cpython-3.12.4-linux-x86_64-gnu/bin/python3", version=(3, 12, 4))
    environ = {
        "PATH": f"{tmp_path}/pyenv/shims:{tmp_path}/bin:/bin",
        "PYENV_ROOT": str(tmp_path / "pyenv"),
        "UV_PYTHON_INSTALL_DIR": str(tmp_path / "uv"),
    }
    found = [python.executable for python in available(environ)]
    assert found[0].parents[1] == Path(sys.base_prefix).resolve()
    mine = [path for path in found if path.is_relative_to(tmp_path)]
    assert mine == [on_path, new, old, uv]


@pytest.mark.parametrize(
    ("program", "hint"),
    [
        ("/usr/bin/python3.11", "apt-get install libpython3.11"),
        ("/home/me/.pyenv/versions/3.11.7/bin/python3.11", "--enable-shared pyenv install --force 3.11.7"),
        ("/opt/python/bin/python3", "use another build"),
    ],
)
def test_a_missing_libpython_is_explained_by_where_the_python_came_from(program: str, hint: str) -> None:
    """The next step is the one for that kind of installation."""
    assert hint in libpython_hint(Interpreter(Path(program), (3, 11, 7), None))


@pytest.mark.parametrize(("compiler", "headers"), [(True, True), (True, False), (False, True)])
def test_a_version_without_wheels_needs_a_compiler_and_headers(compiler: bool, headers: bool) -> None:
    """And the message says which packages bring both."""
    wanted = Wanted(("3.12",), compiled={"3.13": ("numpy",)})
    python = Interpreter(Path("/usr/bin/python3.13"), (3, 13, 5), Path("/usr/lib"), has_headers=headers)
    refusal = wanted.refusal(python, compiler=compiler)
    assert (refusal is None) == (compiler and headers)
    assert refusal is None or "apt-get install g++ python3.13-dev" in refusal


@given(minor=st.integers(8, 15), libdir=st.none() | st.just(Path("/usr/lib")), wanted=st.booleans(), fits=st.booleans())
def test_a_python_is_refused_exactly_when_it_lacks_something(
    minor: int, libdir: Path | None, wanted: bool, fits: bool
) -> None:
    """The version must be in the list; libpython matters only where it is wanted."""
    python = Interpreter(Path("/usr/bin/python3"), (3, minor, 1), libdir)
    refusal = Wanted((python.minor,) if fits else ("3.7",), libpython=wanted).refusal(python)
    assert (refusal is None) == (fits and (libdir is not None or not wanted))
    assert refusal is None or str(python) in refusal
