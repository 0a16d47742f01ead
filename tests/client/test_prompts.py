"""Prompts files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tritonfleet.client.prompts import Prompt, read_prompts, render_prompts
from tritonfleet.client.sampling import build_sampling
from tritonfleet.client.template import ChatTemplate
from tritonfleet.errors import UsageError


def test_one_prompt_a_line(tmp_path: Path) -> None:
    """Blank lines, line ends of any system, and an editor's byte order mark are no part of a prompt."""
    path = tmp_path / "prompts.txt"
    path.write_bytes("\ufeff첫 번째 🙂\r\n\r\n  \n two\u2028half \nlast".encode())
    assert read_prompts(path) == ["첫 번째 🙂", "two\u2028half", "last"]


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"\n \n", "holds no prompt"), (b"ok\nfine\n\xff\xfe", r"prompts.txt:3: this is not UTF-8")],
)
def test_unusable_file(tmp_path: Path, data: bytes, message: str) -> None:
    """An empty file, or one in another encoding, is refused; the line is named."""
    path = tmp_path / "prompts.txt"
    path.write_bytes(data)
    with pytest.raises(UsageError, match=message):
        read_prompts(path)


def test_missing_file(tmp_path: Path) -> None:
    """A missing file is named, with the option that names another."""
    with pytest.raises(UsageError, match=r"nothing.txt: No such file.*--input-prompts"):
        read_prompts(tmp_path / "nothing.txt")


def test_passes_are_numbered_from_the_offset() -> None:
    """Every pass repeats the prompts; numbers go on."""
    found = render_prompts(["a", "b"], None, system=None, iterations=2, offset=5)
    assert found == [Prompt(5, "a", "a"), Prompt(6, "b", "b"), Prompt(7, "a", "a"), Prompt(8, "b", "b")]


def test_system_message() -> None:
    """A system message goes into the template, or before the prompt where there is none."""
    template = ChatTemplate("m", "{% for m in messages %}{{ m.role }}:{{ m.content }};{% endfor %}")
    assert render_prompts(["a"], template, system="s", iterations=1, offset=0)[0].rendered == "system:s;user:a;"
    assert render_prompts(["a"], None, system="s", iterations=1, offset=0)[0].rendered == "s\n\na"


def test_sampling() -> None:
    """Options that are set go in; the JSON wins; what is not an object is refused."""
    assert build_sampling('{"stop": ["x"], "seed": 2}', seed=1, top_k=None) == {"seed": 2, "stop": ["x"]}
    assert build_sampling(None, seed=1) == {"seed": 1}
    for text in ("{", "[1]"):
        with pytest.raises(UsageError, match="--sampling"):
            build_sampling(text)
