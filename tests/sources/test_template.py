"""Chat templates in the places and forms that transformers knows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.sources.conftest import write_files
from tritonfleet.sources import ChatTemplate
from tritonfleet.sources.model import read_chat_template


def read(tmp_path: Path, tokenizer: dict[str, Any], **files: str) -> ChatTemplate:
    """Read the template of a folder with this tokenizer_config.json; files are named with _ for the dot."""
    texts = {"tokenizer_config.json": json.dumps(tokenizer)} | {
        name.replace("__", "."): text for name, text in files.items()
    }
    write_files(tmp_path, {name: text.encode() for name, text in texts.items()})
    return read_chat_template(tmp_path, "source")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("text", "text"),
        ("", None),
        (None, None),
        ([{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}], "d"),
        ([{"name": "rag", "template": "r"}], "r"),
        ([], None),
        ({"default": "d", "tool_use": "t"}, "d"),
        (7, None),
    ],
)
def test_the_forms_of_a_template(value: object, expected: str | None, tmp_path: Path) -> None:
    """Text, a list of named templates, or a mapping; the default one is meant."""
    assert read(tmp_path, {"chat_template": value}).template == expected


def test_a_template_file_wins(tmp_path: Path) -> None:
    """chat_template.jinja before chat_template.json before tokenizer_config.json."""
    assert read(tmp_path, {"chat_template": "c"}).template == "c"
    assert read(tmp_path, {"chat_template": "c"}, chat_template__json='{"chat_template": "b"}').template == "b"
    assert read(tmp_path, {"chat_template": "c"}, chat_template__jinja="a\n").template == "a\n"


@pytest.mark.parametrize(("value", "expected"), [("<s>", "<s>"), ({"content": "<s>"}, "<s>"), (None, ""), (1, "")])
def test_the_forms_of_a_token(value: object, expected: str, tmp_path: Path) -> None:
    """Text, a serialised AddedToken, or none."""
    assert read(tmp_path, {"bos_token": value}).bos_token == expected


def test_tokens_may_stand_in_the_special_tokens_map(tmp_path: Path) -> None:
    """Older models keep them there alone."""
    assert read(tmp_path, {}, special_tokens_map__json='{"eos_token": "</s>"}').eos_token == "</s>"


def test_a_lone_surrogate_does_not_reach_protobuf(tmp_path: Path) -> None:
    """JSON can say what UTF-8 cannot."""
    assert read(tmp_path, {"chat_template": "a\ud800b"}).template == "a?b"


def test_a_folder_without_a_tokenizer_has_no_template(tmp_path: Path) -> None:
    """Nothing is made up."""
    assert read_chat_template(tmp_path, "source") == ChatTemplate()
