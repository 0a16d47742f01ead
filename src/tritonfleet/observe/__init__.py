"""Dashboards, rules and scrape configuration, all made from the table of metrics; nothing here talks to a server."""

from tritonfleet.observe.dashboards import boards, dashboard_files
from tritonfleet.observe.files import write_files
from tritonfleet.observe.rules import RUNBOOK, all_alerts, rule_files
from tritonfleet.observe.scrape import runbook_of, scrape_config, target_of
from tritonfleet.observe.slo import Goals, TtftGoal, goals_of

__all__ = [
    "RUNBOOK",
    "Goals",
    "TtftGoal",
    "all_alerts",
    "boards",
    "dashboard_files",
    "goals_of",
    "rule_files",
    "runbook_of",
    "scrape_config",
    "target_of",
    "write_files",
]
