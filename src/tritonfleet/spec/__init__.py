"""The spec: fleet.yaml as typed values, and the reader that names file, line and fix when it is wrong."""

from tritonfleet.spec.loader import load_spec, parse_spec
from tritonfleet.spec.models import (
    Door,
    Doors,
    EngineName,
    FleetSpec,
    Lifecycle,
    ModelSpec,
    RepositorySpec,
    RuntimeChoice,
    check_source,
    json_schema,
    schema_text,
)
from tritonfleet.spec.scaling import ScalingSpec

__all__ = [
    "Door",
    "Doors",
    "EngineName",
    "FleetSpec",
    "Lifecycle",
    "ModelSpec",
    "RepositorySpec",
    "RuntimeChoice",
    "ScalingSpec",
    "check_source",
    "json_schema",
    "load_spec",
    "parse_spec",
    "schema_text",
]
