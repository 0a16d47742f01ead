"""gRPC statuses as errors of ours: grpc reports its own failures with the same codes as the server's."""

from __future__ import annotations

import grpc
import pytest

from tritonfleet.client.address import Address
from tritonfleet.client.grpc_door import to_error
from tritonfleet.errors import ConnectionLost, RequestFailed, RequestRefused, UnknownModel, Unreachable

HERE = Address("gpu1", 8001)
Code = grpc.StatusCode


@pytest.mark.parametrize(
    ("code", "details", "kind", "message"),
    [
        (
            Code.UNAVAILABLE,
            "failed to connect to all addresses; last error: Connection refused",
            Unreachable,
            "nothing",
        ),
        (Code.UNAVAILABLE, "errors resolving gpu1:8001: Domain name not found", Unreachable, "nothing answers"),
        (Code.UNAVAILABLE, "DNS resolution failed for gpu1:8001", Unreachable, "nothing answers"),
        (Code.UNAVAILABLE, "failed to connect to all addresses; last error: Socket closed", Unreachable, "--http"),
        (Code.UNAVAILABLE, "failed to connect: Trying to connect an http1.x server", Unreachable, "--http"),
        (Code.UNAVAILABLE, "Stream removed (Socket closed)", ConnectionLost, "went away"),
        (Code.UNAVAILABLE, "recvmsg:Connection reset by peer", ConnectionLost, "went away"),
        (Code.CANCELLED, "", ConnectionLost, "CANCELLED"),
        (Code.UNAVAILABLE, "the engine of 'm' is restarting", RequestRefused, r"\(UNAVAILABLE\): the engine"),
        (Code.RESOURCE_EXHAUSTED, "queue is full", RequestRefused, r"\(RESOURCE_EXHAUSTED\): queue is full"),
        (Code.UNKNOWN, "too long", RequestRefused, "model 'm' refused the request: too long"),
        (Code.NOT_FOUND, "Request for unknown model: 'm' is not found", UnknownModel, "unknown model"),
        (Code.INVALID_ARGUMENT, "Request for unknown model: 'm' has no available versions", UnknownModel, "versions"),
    ],
)
def test_errors(code: grpc.StatusCode, details: str, kind: type[RequestFailed], message: str) -> None:
    """Who ended the call decides the error, and the server's own words are kept."""
    found = to_error(HERE, code, details, "m")
    assert type(found) is kind
    with pytest.raises(kind, match=message):
        raise found


def test_other_server() -> None:
    """A gRPC server that is no Triton says UNIMPLEMENTED to the first question."""
    assert isinstance(to_error(HERE, Code.UNIMPLEMENTED, "Method not found!", ""), Unreachable)
    assert isinstance(to_error(HERE, Code.UNIMPLEMENTED, "ModelInfer is not supported", "m"), RequestRefused)
