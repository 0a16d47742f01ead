"""How models that share a device take turns, as a person may write it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tritonfleet.spec.section import Seconds, Section


class ShareSpec(Section):
    """How the models of one share group take turns on their device."""

    sleep: Literal["auto", 1, 2, "stop"] = "auto"
    """How a model leaves the device: 1 keeps its weights in host memory, 2 reads them again, stop ends its engine.

    auto takes the quickest that the host has memory for.
    """
    min_residency_seconds: Seconds = 2.0
    """A model that woke keeps the device at least this long while it has work."""
    residency_per_switch: Annotated[float, Field(ge=0, strict=False, allow_inf_nan=False)] = 4.0
    """It also keeps it this many times as long as the last switch took; 4 leaves four fifths of the time for work."""
    idle_seconds: Seconds = 0.5
    """A model without a request for this long leaves the device as soon as another needs it."""
    max_wait_seconds: Seconds = 30.0
    """A request that waited this long goes before any priority."""
    hold_seconds: Seconds = 60.0
    """Longest wait of a request for its model; then it is answered with 503 and Retry-After."""
    drain_seconds: Seconds = 60.0
    """Requests of a leaving model that run longer than this are ended with an error."""
    switch_seconds: Seconds = 60.0
    """Longest time for an engine to fall asleep, or to wake and answer, unless the plan predicts more; then it is
    started again."""
