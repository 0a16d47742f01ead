"""The runbook and the page about dashboards say what is true."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from itertools import takewhile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.observe.reading import labels_of
from tritonfleet.cli.app import app
from tritonfleet.gateway.console.assets import RUNBOOK as PAGE_OF_THE_CONSOLE
from tritonfleet.gateway.console.assets import assets
from tritonfleet.observe import all_alerts
from tritonfleet.observe.rule import Alert
from tritonfleet.spec import schema_text

ROOT = Path(__file__).resolve().parents[2]
RUNBOOK = (ROOT / "docs/runbook.md").read_text()
PAGE = (ROOT / "docs/observability.md").read_text()
SECTIONS = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", RUNBOOK, re.MULTILINE | re.DOTALL))


def test_every_alert_has_its_heading_and_no_heading_is_left_over() -> None:
    """Links of alerts lead to something, in the order of the rules."""
    assert set(SECTIONS) == {alert.name for alert in all_alerts()}


@pytest.mark.parametrize("alert", all_alerts(), ids=lambda alert: alert.name)
def test_an_entry_says_what_it_means_how_to_check_and_what_to_do(alert: Alert) -> None:
    """A person who was woken needs these, in this order."""
    text = SECTIONS[alert.name]
    assert text.lstrip().startswith(f"{alert.severity.capitalize()}.")
    places = [text.find(f"**{part}.**") for part in ("What it means", "Check", "Do")]
    assert -1 not in places
    assert places == sorted(places)


@pytest.mark.parametrize("text", [RUNBOOK, PAGE], ids=["runbook", "observability"])
def test_links_within_the_pages_lead_somewhere(text: str) -> None:
    """No anchor without its heading."""
    anchors = {name.lower() for name in SECTIONS}
    assert set(re.findall(r"\]\((?:runbook\.md)?#(\w+)\)", text)) <= anchors


def _code(kind: str) -> list[str]:
    blocks = re.findall(rf"```{kind}\n(.*?)```", RUNBOOK + PAGE, re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


@pytest.mark.parametrize("query", _code("promql"))
def test_queries_of_the_runbook_fit_the_table(query: str) -> None:
    """They can be pasted."""
    assert labels_of(query) >= {"model"}


def _commands() -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Return every command of the pages: its words, and the options that it is shown with."""
    text = RUNBOOK + PAGE
    known = {command.name or "" for command in app.registered_groups} | {"up", "down", "status", "logs", "plan"}
    found = set()
    for match in re.finditer(r"tritonfleet ([a-z][^`\n&;)]*)", re.sub(r"\n(?!\n|\$)", " ", text)):
        words = shlex.split(match[1].replace("'", ""))
        if words and words[0] in known:
            names = takewhile(lambda word: re.fullmatch("[a-z][a-z-]*", word), words)
            found.add((tuple(names), tuple(word for word in words if word.startswith("-"))))
    return sorted(found)


@pytest.mark.parametrize(("command", "options"), _commands())
def test_commands_of_the_pages_exist(command: tuple[str, ...], options: tuple[str, ...]) -> None:
    """With the options that they are shown with."""
    help_text = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "200"}).output
    assert "Usage" in help_text, help_text
    assert all(option in help_text for option in options), help_text


def test_settings_that_the_runbook_names_are_in_the_spec() -> None:
    """`lifecycle.max_restarts` and the like."""
    schema = schema_text()
    for section, name in re.findall(r"`(lifecycle|scaling|doors)\.(\w+)", RUNBOOK):
        assert f'"{section}"' in schema
        assert f'"{name}"' in schema, f"{section}.{name}"
    assert '"min_residency_seconds"' in schema


def test_the_console_serves_an_entry_under_each_alerts_anchor() -> None:
    """What `runbook_url` leads to where the fleet names nothing else."""
    html = assets()[PAGE_OF_THE_CONSOLE].content.decode()
    ids = re.findall(r'<h2 id="(\w+)">', html)
    assert ids == [alert.name.lower() for alert in all_alerts()]
    assert set(re.findall(r'href="#(\w+)"', html)) - {"main"} <= set(ids)
    assert not re.findall(r'href="[^"]*[.]md', html), "a fleet serves no other page of the documentation"


@pytest.mark.parametrize("name", ["observability_doc.py", "runbook_page.py"])
def test_what_scripts_make_of_the_pages_is_current(name: str) -> None:
    """Panels and alerts in the page, and the console's copy of the runbook."""
    script = ROOT / "scripts" / name
    done = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
