"""Chat templates, rendered as transformers renders them."""

from __future__ import annotations

import json
import re
from datetime import datetime

import pytest

from tritonfleet.client.template import ChatTemplate, chat_template
from tritonfleet.demo import demo_model_path, demo_names
from tritonfleet.errors import UsageError

USER = [{"role": "user", "content": "a < b & 'c' 한국어"}]


def render(source: str, **kwargs: str) -> str:
    return ChatTemplate("m", source, **kwargs).render(USER)


def test_content_is_not_escaped() -> None:
    """A prompt is no HTML: the user's characters arrive as they are, through tojson too."""
    assert render("{{ messages[0].content }}") == USER[0]["content"]
    assert render("{{ messages[0].content | tojson }}") == json.dumps(USER[0]["content"], ensure_ascii=False)
    assert render("{{ {'b': 1, 'a': 2} | tojson(indent=1) }}") == '{\n "b": 1,\n "a": 2\n}'


def test_special_tokens_and_generation_prompt() -> None:
    """Templates get bos_token, eos_token and add_generation_prompt."""
    source = "{{ bos_token }}x{{ eos_token }}{% if add_generation_prompt %}[A]{% endif %}"
    assert render(source, bos_token="<s>", eos_token="</s>") == "<s>x</s>[A]"


def test_blocks_are_trimmed() -> None:
    """Indented block lines leave no white space, as transformers sets it."""
    assert render("{% for m in messages %}\n    {% if true %}\nx\n    {% endif %}\n{% endfor %}\n") == "x\n"


def test_loop_controls_generation_block_and_date() -> None:
    """break, {% generation %} and strftime_now work."""
    assert render("{% for i in range(9) %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}") == "01"
    assert render("a{% generation %}b{{ bos_token }}{% endgeneration %}c", bos_token="<s>") == "ab<s>c"
    assert re.fullmatch(r"\d{4}", render("{{ strftime_now('%Y') }}"))
    assert render("{{ strftime_now('%d %b') }}") == datetime.now().astimezone().strftime("%d %b")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{ raise_exception('Only user roles') }}", "refuses these messages: Only user roles"),
        ("{% for %}", "is wrong at line 1"),
        ("{{ messages[0].content + 1 }}", "refuses these messages"),
        ("{{ ''.__class__.__mro__ }}", "refuses these messages: .*unsafe"),
        ("{{ messages.append(1) }}", "refuses these messages"),
        ("{% for i in range(10**9) %}{% endfor %}", "refuses these messages: .*[Rr]ange"),
    ],
)
def test_template_that_cannot(source: str, message: str) -> None:
    """A template that is wrong, unwilling or malicious is an error that names the model."""
    with pytest.raises(UsageError, match=f"model 'm': its chat template {message}"):
        render(source)


def test_from_config_parameters() -> None:
    """The template comes from the config's parameters; without one there is none."""
    found = chat_template("m", {"chat_template": "{{ bos_token }}", "bos_token": "<s>"})
    assert found is not None
    assert found.render(USER) == "<s>"
    assert chat_template("m", {"other": "x"}) is None


@pytest.mark.parametrize("name", demo_names())
def test_demo_models(name: str) -> None:
    """The demo models' own templates put the prompt between their markers, with one BOS."""
    config = json.loads((demo_model_path(name) / "tokenizer_config.json").read_text())
    text = ChatTemplate(name, config["chat_template"], config["bos_token"], config["eos_token"]).render(USER)
    assert text.startswith("<s>[INST]")
    assert text.count("<s>") == 1
    assert str(USER[0]["content"]) in text
    assert text.rstrip().endswith("[/INST]")
