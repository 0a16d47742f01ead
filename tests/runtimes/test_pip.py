"""What pip prints becomes progress, and what it says at the end becomes the error."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tritonfleet.runtimes import pip


def test_pips_lines_become_steps(tmp_path: Path) -> None:
    """Packages are counted as they are collected, sizes added up from downloads, the pip cache and local files."""
    local = tmp_path / "b-1-py3-none-any.whl"
    local.write_bytes(b"x" * 500)
    lines = [
        "Looking in links: /somewhere",
        "Collecting a==1 (from -r pins.txt (line 1))",
        "  Downloading a-1-py3-none-any.whl (1.5 MB)",
        f"Processing {local} (from -r pins.txt (line 2))",
        "Collecting c==1 (from -r pins.txt (line 3))",
        "  Using cached c-1-py3-none-any.whl (20 kB)",
    ]
    reading = pip.Reading()
    for line in lines:
        reading.take(line)
    assert (reading.step.phase, reading.step.fetched_bytes) == ("fetching", 1_520_500)
    reading.take("Installing collected packages: a, b, c")
    assert (reading.step.phase, reading.step.packages) == ("installing", 0)


def test_a_compilation_is_named_while_it_lasts() -> None:
    """Compiling takes minutes in which nothing else is said."""
    reading = pip.Reading()
    for line, compiling in [
        ("Collecting numpy==1.26.4", ""),
        ("  Downloading numpy-1.26.4.tar.gz (15.8 MB)", ""),
        ("  Preparing metadata (pyproject.toml): started", "numpy"),
        ("  Preparing metadata (pyproject.toml): still running...", "numpy"),
        ("  Preparing metadata (pyproject.toml): finished with status 'done'", ""),
        ("Collecting orjson==3.13.0", ""),
        ("  Building wheel for numpy (pyproject.toml): started", "numpy"),
        ("Installing collected packages: numpy", ""),
    ]:
        reading.take(line)
        assert reading.step.compiling == compiling
    assert "compiling numpy" in pip.Step(compiling="numpy", elapsed_seconds=61).note


@given(st.text())
def test_no_line_breaks_the_reading(line: str) -> None:
    """pip may print anything."""
    pip.Reading().take(line)


def test_the_last_words_leave_out_noise(tmp_path: Path) -> None:
    """Complaints about optional places come by the hundred and hide the reason."""
    log = tmp_path / "pip.log"
    log.write_text("\n".join(["ERROR: the reason", *(["WARNING: Location 'x' is ignored: neither"] * 50), "", "end"]))
    assert pip.last_words(log).split() == ["ERROR:", "the", "reason", "end"]


def test_an_environment_for_pip_keeps_the_users_settings() -> None:
    """Index, certificates and proxies stay; what would install elsewhere goes."""
    kept = pip.environment({"PIP_INDEX_URL": "u", "HTTPS_PROXY": "p", "PIP_TARGET": "t", "PYTHONPATH": "x"})
    assert kept["PIP_INDEX_URL"] == "u"
    assert kept["HTTPS_PROXY"] == "p"
    assert not {"PIP_TARGET", "PYTHONPATH"} & set(kept)
