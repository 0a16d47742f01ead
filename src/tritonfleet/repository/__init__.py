"""Triton model repositories: rendered from a spec, checked, and carried to and from object stores."""

from tritonfleet.repository.check import Finding, check_repository
from tritonfleet.repository.metadata import resolve_metadata
from tritonfleet.repository.render import render_repository
from tritonfleet.repository.sync import Pull, Push, SyncPlan
from tritonfleet.repository.writer import Written, write_repository

__all__ = [
    "Finding",
    "Pull",
    "Push",
    "SyncPlan",
    "Written",
    "check_repository",
    "render_repository",
    "resolve_metadata",
    "write_repository",
]
