"""A tiny package index, and a runtime kind made of it: real venvs and a real pip, built in a second or two."""

from __future__ import annotations

import base64
import hashlib
import os
import sys
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tritonfleet.runtimes import build
from tritonfleet.runtimes.interpreters import Interpreter, Wanted, probe
from tritonfleet.runtimes.kinds import Kind
from tritonfleet.runtimes.store import Store

MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"


def write_wheel(folder: Path, name: str, version: str, code: str = "") -> Path:
    """Write a wheel that holds one module."""
    info = f"{name}-{version}.dist-info"
    contents = {
        f"{name}.py": code,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},sha256={_digest(text)},{len(text.encode())}\n" for path, text in contents.items())
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for inside, text in contents.items():
            wheel.writestr(inside, text)
        wheel.writestr(f"{info}/RECORD", f"{record}{info}/RECORD,,\n")
    return path


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


@dataclass(frozen=True)
class Workshop:
    """Where a test builds: an index, a cache, an environment."""

    index: Path
    cache: Path
    environ: dict[str, str]
    kind: Kind

    @property
    def store(self) -> Store:
        return Store(self.cache)

    def complete_folders(self) -> list[Path]:
        return [entry.folder for entry in self.store.all()]


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    """A workshop of the test's own."""
    return open_workshop(tmp_path)


def open_workshop(folder: Path) -> Workshop:
    """Make an index of two packages and the kind ``demo`` that needs both."""
    index = folder / "index"
    index.mkdir()
    write_wheel(index, "alpha", "1.0", "NAME = 'alpha'\n")
    write_wheel(index, "beta", "2.0", "import alpha\n")
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PIP_")},
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(index),
    }
    kind = Kind(
        "demo",
        "two tiny packages",
        "beta",
        pins=("alpha==1.0", "beta==2.0"),
        python=Wanted((MINOR,)),
        verify="import beta",
    )
    return Workshop(index, folder / "cache", environ, kind)


@pytest.fixture
def here() -> Interpreter:
    """The Python that runs the tests."""
    found = probe(Path(sys.executable), os.environ)
    assert found is not None
    return found


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, here: Interpreter) -> None:
    """Build with the running Python, and with its pip rather than one of the environment: seconds less a build."""
    fast = replace(here, has_venv=False)
    monkeypatch.setattr(build, "available", lambda environ: iter([fast]))
