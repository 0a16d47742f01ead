"""The fleet's rule file: what is recorded, and what alerts. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from tritonfleet.observe import alerts, slo
from tritonfleet.observe.rule import Alert, Group, to_yaml
from tritonfleet.observe.scrape import RUNBOOK_PATH
from tritonfleet.observe.slo import Goals

FILE = PurePosixPath("tritonfleet.yaml")
#: Where `runbook_url` points where no fleet is named: the console's page at the default door.
RUNBOOK = f"http://localhost:9000{RUNBOOK_PATH}"
HEADING = "Made by `tritonfleet observe rules`; changes are lost."


def groups(goals: Goals | None = None, scaled_to_zero: Sequence[str] = ()) -> tuple[Group, ...]:
    """Return all rules; pools of *scaled_to_zero* may go away without an alert."""
    # Within a group rules are evaluated in order, so an alert sees what was recorded for it just before.
    return (
        Group("tritonfleet-ttft", (*slo.records(goals or Goals()), *slo.alerts())),
        Group("tritonfleet-engines", (alerts.down(), *alerts.engines())),
        Group("tritonfleet-load", (alerts.waiting(), *alerts.load())),
        Group("tritonfleet-missing", alerts.missing(scaled_to_zero)),
    )


def all_alerts() -> tuple[Alert, ...]:
    """Return the alerts alone, in the order of the file."""
    return tuple(rule for group in groups() for rule in group.rules if isinstance(rule, Alert))


def rule_files(
    goals: Goals | None = None, scaled_to_zero: Sequence[str] = (), runbook: str = RUNBOOK
) -> Mapping[PurePosixPath, str]:
    """Return the rule file that Prometheus reads; its content is also the `spec` of a PrometheusRule."""
    return {FILE: to_yaml(groups(goals, scaled_to_zero), runbook, HEADING)}
