"""Get everything onto this machine that a fleet needs before its first process starts: runtimes, weights, files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tritonfleet.engines import adapter
from tritonfleet.engines.base import Runtime
from tritonfleet.errors import CapacityError
from tritonfleet.layout import Layout
from tritonfleet.spec.models import FleetSpec, ModelSpec
from tritonfleet.supervisor.fleet import Prepared, PreparedModel
from tritonfleet.supervisor.machine import gpu_count
from tritonfleet.supervisor.placement import place
