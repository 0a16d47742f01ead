"""How a request ends when it does not end well, in Triton's terms."""

from __future__ import annotations

from enum import StrEnum

from tritonfleet.errors import FleetError


class Code(StrEnum):
    """Triton's error codes that the bridge uses; the values are the names in ``pb_utils.TritonError``."""

    INVALID_ARG = "INVALID_ARG"
    """gRPC INVALID_ARGUMENT: the request must change."""
    UNAVAILABLE = "UNAVAILABLE"
    """gRPC UNAVAILABLE: the same request may succeed later."""
    UNSUPPORTED = "UNSUPPORTED"
    """gRPC UNIMPLEMENTED: this model or engine cannot do that."""
    CANCELLED = "CANCELLED"
    """gRPC CANCELLED: the client gave up."""
    INTERNAL = "INTERNAL"
    """gRPC INTERNAL: the engine or the bridge failed."""


class BridgeError(FleetError):
    """A request or a load failed; the text is what the client reads."""

    def __init__(self, message: str, code: Code = Code.INTERNAL) -> None:
        super().__init__(message)
        self.code = code


class InvalidRequest(BridgeError):
    """The request itself is wrong; the message names the field."""

    def __init__(self, message: str) -> None:
        super().__init__(message, Code.INVALID_ARG)


class Unsupported(BridgeError):
    """What was asked for cannot be done by this model or engine."""

    def __init__(self, message: str) -> None:
        super().__init__(message, Code.UNSUPPORTED)


class Unavailable(BridgeError):
    """The engine cannot answer now."""

    def __init__(self, message: str) -> None:
        super().__init__(message, Code.UNAVAILABLE)
