"""A Prometheus configuration that scrapes a fleet's page and reads the rules beside it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

import yaml

from tritonfleet.errors import UsageError
from tritonfleet.spec import FleetSpec

FILE = PurePosixPath("prometheus.yml")
#: Also Prometheus's `job` label.
JOB = "tritonfleet"
#: Where the console serves docs/runbook.md, each alert under its name.
RUNBOOK_PATH = "/console/runbook"
HEADING = "Made by `tritonfleet observe scrape-config`; changes are lost."
#: Every address of this machine: something else must be named to reach it.
_ANY = ("0.0.0.0", "::")  # noqa: S104 - compared with, not listened on


def target_of(spec: FleetSpec) -> str:
    """Return ``host:port`` of the fleet's page as seen from its own machine."""
    door = spec.doors.openai
    host = "127.0.0.1" if door.host in _ANY else door.host
    return f"[{host}]:{door.port}" if ":" in host else f"{host}:{door.port}"


def runbook_of(spec: FleetSpec) -> str:
    """Return where the alerts of *spec* link to: the address that it names, or the page that its console serves."""
    return spec.observability.runbook_url or f"http://{target_of(spec)}{RUNBOOK_PATH}"


def scrape_config(targets: Sequence[str], interval_seconds: int = 15) -> Mapping[PurePosixPath, str]:
    """Return a complete prometheus.yml for *targets* (``host:port``); rules are read from ``rules/`` beside it.

    Raises UsageError for a target that Prometheus would refuse.
    """
    for target in targets:
        if not re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+):[0-9]{1,5}", target):
            raise UsageError(f"target {target!r}: write host:port, without http:// and path, e.g. gpu-1:9000")
    job = {
        "job_name": JOB,
        "metrics_path": "/metrics",
        # The page waits a second for the slowest engine; within that it always answers.
        "scrape_timeout": f"{min(interval_seconds, 10)}s",
        "static_configs": [{"targets": list(targets)}],
    }
    content = {
        "global": {"scrape_interval": f"{interval_seconds}s", "evaluation_interval": f"{interval_seconds}s"},
        "rule_files": ["rules/*.yaml"],
        "scrape_configs": [job],
    }
    return {FILE: f"# {HEADING}\n{yaml.safe_dump(content, sort_keys=False)}"}
