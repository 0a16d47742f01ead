"""Recording and alerting rules as values, and their YAML. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import yaml

#: What most rules are summed by.
MODEL = ("fleet", "model")
#: One engine; several pods of a fleet have the same replica numbers, so the scraped address belongs to it.
REPLICA = ("fleet", "pool", "model", "replica", "instance")
#: Triton's own page has some of the series as well, without a fleet; where it is scraped too, they count once.
OF_A_FLEET = {"fleet": '!=""'}


@dataclass(frozen=True)
class Record:
    """A query whose result Prometheus keeps under a name."""

    name: str
    expression: str

    def to_dict(self) -> dict[str, Any]:
        """Return Prometheus's form."""
        return {"record": self.name, "expr": self.expression}


@dataclass(frozen=True)
class Alert:
    """A query whose every result is something that a person must look at."""

    name: str
    expression: str
    hold: str
    """How long it must be so, a Prometheus duration."""
    severity: Literal["critical", "warning"]
    """Critical wakes somebody; a warning waits for the working day."""
    summary: str
    description: str

    def to_dict(self, runbook: str) -> dict[str, Any]:
        """Return Prometheus's form; the alert's name is its heading in *runbook*."""
        return {
            "alert": self.name,
            "expr": self.expression,
            "for": self.hold,
            "labels": {"severity": self.severity},
            "annotations": {
                "summary": self.summary,
                "description": self.description,
                "runbook_url": f"{runbook}#{self.name.lower()}",
            },
        }


@dataclass(frozen=True)
class Group:
    """Rules that are evaluated one after the other."""

    name: str
    rules: tuple[Record | Alert, ...]

    def to_dict(self, runbook: str) -> dict[str, Any]:
        """Return Prometheus's form."""
        return {
            "name": self.name,
            "rules": [rule.to_dict(runbook) if isinstance(rule, Alert) else rule.to_dict() for rule in self.rules],
        }


class _Dumper(yaml.SafeDumper):
    """Writes long queries as blocks."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def to_yaml(groups: Sequence[Group], runbook: str, heading: str) -> str:
    """Return a rule file; *heading* is its first comment line."""
    content = {"groups": [group.to_dict(runbook) for group in groups]}
    return f"# {heading}\n" + yaml.dump(content, Dumper=_Dumper, sort_keys=False, width=1000, allow_unicode=True)
