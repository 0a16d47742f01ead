"""A scripted Triton for the client's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.client.fake_triton import FakeTriton
from tritonfleet.client import Address


@pytest.fixture
async def triton() -> AsyncIterator[FakeTriton]:
    """Both doors of a scripted Triton."""
    async with FakeTriton() as server:
        yield server


@pytest.fixture(params=["grpc", "http"])
def address(request: pytest.FixtureRequest, triton: FakeTriton) -> Address:
    """The scripted Triton's address at each of its doors in turn."""
    port = triton.grpc_port if request.param == "grpc" else triton.http_port
    return Address("127.0.0.1", port, request.param)
