"""The guide, in English and Korean: the same examples, and commands and names that exist."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [(ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("deploy.md", "deploy.ko.md")]
FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"^(?:tritonfleet|deploy/\w+\.sh) .*", re.MULTILINE)


def fences(page: str) -> list[str]:
    """Return a page's fenced blocks."""
    return FENCE.findall(page)


def table_commands(page: str) -> list[str]:
    """Return what stands in code between the last table's bars."""
    return re.findall(r"`([^`]+)`", page.rpartition("\n## ")[2])


def test_both_pages_have_the_same_examples() -> None:
    assert fences(PAGES[0]) == fences(PAGES[1])
    assert len(fences(PAGES[0])) >= 14


def test_both_pages_have_the_same_parts() -> None:
    def shape(page: str) -> list[str]:
        rows = re.findall(r"^(#+ |\| )", FENCE.sub("", page), re.MULTILINE)
        return [row.strip() for row in rows]

    assert shape(PAGES[0]) == shape(PAGES[1])
    assert table_commands(PAGES[0]) == table_commands(PAGES[1])


@pytest.mark.parametrize("page", PAGES, ids=["en", "ko"])
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page):
        assert (ROOT / "docs" / target).exists(), target


@pytest.mark.deploy
def test_the_renderers_output_is_what_it_prints(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "tritonfleet", "deploy", "render", str(ROOT / "examples/demo.yaml"), "-o", "rendered"]
    environ = os.environ | {"COLUMNS": "110"}
    done = subprocess.run(
        [*argv, "--registry", "r.example.com"], cwd=tmp_path, env=environ, capture_output=True, text=True, check=True
    )
    (shown,) = (block for block in fences(PAGES[0]) if "RUNS ON" in block)
    assert shown.splitlines()[1:-1] == done.stdout.splitlines()


def test_options_exist() -> None:
    """Every option that the guide gives to our commands is in their help."""
    helped: dict[str, str] = {}
    for line in COMMAND.findall("\n".join(fences(PAGES[0]))):
        words = line.split()
        size = 3 if words[1] == "deploy" else 2
        argv = (
            ["bash", words[0], "--help"]
            if words[0].endswith(".sh")
            else [sys.executable, "-m", *words[:size], "--help"]
        )
        key = " ".join(argv)
        if key not in helped:
            done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
            helped[key] = done.stdout
        for option in re.findall(r"(?<= )--?[a-z][a-z-]*", line):
            assert option in helped[key], f"{line}: {option}"
    assert len(helped) >= 4
