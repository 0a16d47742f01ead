"""Addresses as people type them."""

from __future__ import annotations

import pytest

from tritonfleet.client.address import Address, parse_address
from tritonfleet.errors import UsageError


@pytest.mark.parametrize(
    ("text", "protocol", "expected"),
    [
        (None, None, Address("localhost", 8001, "grpc")),
        (None, "http", Address("localhost", 8000, "http")),
        ("gpu1", None, Address("gpu1", 8001, "grpc")),
        ("gpu1:9", None, Address("gpu1", 9, "grpc")),
        ("gpu1:9", "http", Address("gpu1", 9, "http")),
        ("http://gpu1:9/", None, Address("gpu1", 9, "http")),
        ("http://gpu1", "http", Address("gpu1", 8000, "http")),
        ("https://gpu1", None, Address("gpu1", 443, "http", tls=True)),
        ("grpcs://gpu1:9", None, Address("gpu1", 9, "grpc", tls=True)),
        ("[::1]:9", None, Address("::1", 9, "grpc")),
    ],
)
def test_understood(text: str | None, protocol: str | None, expected: Address) -> None:
    """Host, host and port, and URLs are understood; the port follows the protocol."""
    assert parse_address(text, protocol) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "protocol", "message"),
    [
        ("ftp://gpu1", None, "unknown scheme 'ftp'"),
        ("http://gpu1", "grpc", "asks for http, but the options ask for grpc"),
        ("gpu1:port", None, "HOST:PORT"),
        ("gpu1:99999", None, "HOST:PORT"),
        ("", None, "HOST:PORT"),
        (":8001", None, "HOST:PORT"),
        ("http://gpu1/v2", None, "HOST:PORT"),
        ("http://me@gpu1", None, "HOST:PORT"),
    ],
)
def test_refused(text: str, protocol: str | None, message: str) -> None:
    """What cannot be an address is refused with the form to write."""
    with pytest.raises(UsageError, match=message):
        parse_address(text, protocol)  # type: ignore[arg-type]


def test_ipv6_as_text() -> None:
    """An IPv6 host is written in brackets."""
    assert str(Address("::1", 9, "http")) == "http://[::1]:9"
