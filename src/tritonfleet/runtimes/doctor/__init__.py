"""Say whether this machine can run a fleet: gather facts once, then judge them purely."""

from tritonfleet.runtimes.doctor.checks import Finding, examine
from tritonfleet.runtimes.doctor.facts import Facts, gather

__all__ = ["Facts", "Finding", "examine", "gather"]
