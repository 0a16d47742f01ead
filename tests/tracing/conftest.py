"""Spans are sent at once here, so that no test waits for them."""

from __future__ import annotations

import pytest

from tritonfleet.bridge import trace
from tritonfleet.tracing import otel


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the times in which spans gather and in which a collector may answer."""
    monkeypatch.setattr(trace, "SEND_SECONDS", 0.02)
    monkeypatch.setattr(otel, "SEND_SECONDS", 0.02)
    monkeypatch.setattr(otel, "END_SECONDS", 0.2)
