"""Serve many LLMs from one NVIDIA Triton endpoint, from one fleet.yaml.

Public names are imported on first use: the bridge runs inside Triton with a copy of this package and must
not pay for what it does not need.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tritonfleet.errors import FleetError as FleetError
    from tritonfleet.spec import FleetSpec as FleetSpec
    from tritonfleet.spec import ModelSpec as ModelSpec
    from tritonfleet.spec import load_spec as load_spec

__version__ = "0.1.0"

_HOMES = {
    "FleetError": "tritonfleet.errors",
    "FleetSpec": "tritonfleet.spec",
    "ModelSpec": "tritonfleet.spec",
    "load_spec": "tritonfleet.spec",
}

__all__ = ["FleetError", "FleetSpec", "ModelSpec", "__version__", "load_spec"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'tritonfleet' has no attribute {name!r}")
