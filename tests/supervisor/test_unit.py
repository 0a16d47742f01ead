"""What a unit says of its model to those who send requests."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from tritonfleet.engines import adapter
from tritonfleet.spec.models import ModelSpec
from tritonfleet.supervisor.engine import Engine
from tritonfleet.supervisor.unit import ModelUnit
from tritonfleet.wire import Endpoint


@pytest.mark.parametrize(
    ("options", "enabled"),
    [
        ({}, False),
        ({"enable_lora": False}, False),
        ({"enable_lora": True}, True),
        ({"enable_lora": "True"}, True),
        ({"enable-lora": True}, True),
        ({"--enable-lora": "true"}, True),
        ({"max_loras": True}, False),
    ],
)
def test_adapters_may_come_later(options: dict[str, Any], enabled: bool) -> None:
    """An engine that takes adapters says so, however its option is spelled."""
    spec = ModelSpec(name="m", source="demo://llama2", engine="fake", engine_args=options)
    engine = cast("Engine", SimpleNamespace(state="ready", ready=True, reason="", endpoint=Endpoint(uds="/e")))
    assert ModelUnit(spec, adapter("fake"), [engine], ["cpu"]).route(ready_only=False).lora_enabled is enabled
