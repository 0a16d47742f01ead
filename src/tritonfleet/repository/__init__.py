"""Triton model repositories: rendered from a spec, checked, and carried to and from object stores."""

from tritonfleet.repository.render import render_repository
from tritonfleet.repository.writer import Written, write_repository

__all__ = ["Written", "render_repository", "write_repository"]
