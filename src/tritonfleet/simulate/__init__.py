"""Request traces, and what a fleet would make of them: the fleet's own arbiter between modelled engines. Pure."""

from __future__ import annotations

from tritonfleet.simulate.engine import Speed
from tritonfleet.simulate.trace import Request, Shape, generate, read_trace, trace_text
from tritonfleet.simulate.world import Outcome, Replay, Scene, Seat, Span, replay

__all__ = [
    "Outcome",
    "Replay",
    "Request",
    "Scene",
    "Seat",
    "Shape",
    "Span",
    "Speed",
    "generate",
    "read_trace",
    "replay",
    "trace_text",
]
