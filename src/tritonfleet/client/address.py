"""Where a Triton server is, parsed once from what a person types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from tritonfleet.errors import UsageError

Protocol = Literal["grpc", "http"]

DEFAULT_PORTS: dict[Protocol, int] = {"grpc": 8001, "http": 8000}
#: scheme -> (protocol, whether the connection is encrypted)
_SCHEMES: dict[str, tuple[Protocol, bool]] = {
    "grpc": ("grpc", False),
    "grpcs": ("grpc", True),
    "http": ("http", False),
    "https": ("http", True),
}


@dataclass(frozen=True)
class Address:
    """One of Triton's two doors."""

    host: str
    port: int
    protocol: Protocol = "grpc"
    tls: bool = False

    @property
    def netloc(self) -> str:
        """``host:port``, an IPv6 host in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.protocol}{'s' if self.tls else ''}://{self.netloc}"


def parse_address(text: str | None, protocol: Protocol | None = None) -> Address:
    """Return the address written as ``HOST``, ``HOST:PORT`` or ``SCHEME://HOST[:PORT]``; localhost when *text* is None.

    *protocol* is what the person asked for apart from the address; None leaves it to the scheme, and to gRPC.
    Raises UsageError for an address that cannot be meant.
    """
    if text is None:
        return Address("localhost", DEFAULT_PORTS[protocol or "grpc"], protocol or "grpc")
    scheme, separator, _ = text.partition("://")
    if separator and scheme not in _SCHEMES:
        raise UsageError(f"address {text!r}: unknown scheme {scheme!r}; write HOST:PORT, grpc:// or http://")
    named, tls = _SCHEMES[scheme] if separator else (None, False)
    if named and protocol and named != protocol:
        raise UsageError(f"address {text!r} asks for {named}, but the options ask for {protocol}; drop one of them")
    chosen: Protocol = named or protocol or "grpc"
    host, port = _host_and_port(text, text if separator else f"//{text}")
    return Address(host, port or (443 if tls else DEFAULT_PORTS[chosen]), chosen, tls)


def _host_and_port(text: str, url: str) -> tuple[str, int | None]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as err:
        raise UsageError(f"address {text!r}: {err}; write HOST:PORT, for example localhost:8001") from err
    if not host or parts.path.strip("/") or parts.query or parts.username is not None:
        raise UsageError(f"address {text!r} is not of the form HOST:PORT, for example localhost:8001")
    return host, port
