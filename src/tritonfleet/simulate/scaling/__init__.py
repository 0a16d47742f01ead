"""Request traces replayed against scaling rules: what the replicas cost, and which requests miss their goal. Pure."""

from __future__ import annotations

from tritonfleet.simulate.scaling.comparison import Row, blueprint_rule, compare
from tritonfleet.simulate.scaling.simulation import Look, Run, simulate

__all__ = ["Look", "Row", "Run", "blueprint_rule", "compare", "simulate"]
