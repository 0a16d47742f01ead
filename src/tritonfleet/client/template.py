"""Chat templates rendered as Hugging Face transformers renders them, from what the model's Triton config holds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from tritonfleet.errors import UsageError

#: Names of the config parameters that the repository renderer writes.
TEMPLATE, BOS, EOS = "chat_template", "bos_token", "eos_token"


class _GenerationBlock(Extension):
    """``{% generation %}`` marks the assistant's part for training; here its content is rendered as it is."""

    tags = {"generation"}  # noqa: RUF012 - jinja2 declares it as a plain set

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


@dataclass(frozen=True)
class ChatTemplate:
    """A model's own chat template; it came over the network, so it is rendered in jinja2's sandbox."""

    model: str
    source: str
    bos_token: str = ""
    eos_token: str = ""

    def render(self, messages: Sequence[Mapping[str, Any]]) -> str:
        """Return the prompt for *messages*, ready for the answer; raise UsageError if the template cannot."""
        try:
            template = _environment().from_string(self.source)
            return template.render(
                messages=list(messages),
                add_generation_prompt=True,
                bos_token=self.bos_token,
                eos_token=self.eos_token,
            )
        except jinja2.TemplateSyntaxError as err:
            raise UsageError(f"model {self.model!r}: its chat template is wrong at line {err.lineno}: {err}") from err
        except (jinja2.TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as err:
            raise UsageError(f"model {self.model!r}: its chat template refuses these messages: {err}") from err


def chat_template(model: str, parameters: Mapping[str, str]) -> ChatTemplate | None:
    """Return the template in a model config's *parameters*, or None if there is none."""
    source = parameters.get(TEMPLATE)
    return ChatTemplate(model, source, parameters.get(BOS, ""), parameters.get(EOS, "")) if source else None


def _environment() -> ImmutableSandboxedEnvironment:
    # These settings are those of transformers.utils.chat_template_utils, which templates are written against.
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # the result is a prompt, not HTML
        extensions=[_GenerationBlock, loopcontrols],
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    return environment


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """jinja2's own filter escapes HTML characters, which a prompt must keep."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def _strftime_now(form: str) -> str:
    return datetime.now().astimezone().strftime(form)
