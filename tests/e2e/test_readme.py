"""The README's examples, in English and Korean, run against a real fleet."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import RunningFleet

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"<!-- run: (?P<how>\w+) -->\n```\w+\n(?P<code>.*?)```", re.DOTALL)

EXAMPLES = [
    pytest.param(found["how"], found["code"], id=f"{page}-{number}")
    for page in ("README.md", "README.ko.md")
    for number, found in enumerate(BLOCK.finditer((ROOT / page).read_text(encoding="utf-8")))
]


def test_both_pages_have_the_same_examples() -> None:
    pages = [(ROOT / page).read_text(encoding="utf-8") for page in ("README.md", "README.ko.md")]
    fences = [re.findall(r"```.*?```", page, re.DOTALL) for page in pages]
    assert fences[0] == fences[1]
    assert len(EXAMPLES) == 8


@pytest.mark.e2e
@pytest.mark.parametrize(("how", "code"), EXAMPLES)
def test_the_example_answers(demo_fleet: RunningFleet, how: str, code: str) -> None:
    code = code.replace("localhost:8000", f"localhost:{demo_fleet.http}")
    code = code.replace("localhost:8001", f"localhost:{demo_fleet.grpc}")
    code = code.replace("localhost:9000", f"localhost:{demo_fleet.openai}")
    argv = ["bash", "-c", code] if how == "curl" else [sys.executable, "-c", code]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout) > 20
    assert "error" not in done.stdout.lower()
