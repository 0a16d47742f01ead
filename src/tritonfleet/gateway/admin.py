"""Who may manage the fleet from this machine: the token that `up` writes, and where a request comes from.

The token lies in the folder of the fleet's sockets, which only the fleet's user can read, and is gone with the fleet.
It is sent in a header, never in a cookie, so no other site can make a browser send it. It counts for requests from
this machine alone; from elsewhere, an admin key is needed.
"""

from __future__ import annotations

import hmac
import ipaddress
import os
import secrets
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tritonfleet.errors import UsageError
from tritonfleet.gateway.keys import Caller

PREFIX = "tfa-"
#: Whoever holds the token: no limits, all models. The id is the label of its metrics.
OPERATOR = Caller(id="console", admin=True)


def write_token(path: Path) -> None:
    """Write a new token that only this user can read."""
    path.unlink(missing_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(PREFIX + secrets.token_urlsafe(32))


def console_url(door: str, token_file: Path) -> str:
    """Return the console's address for a browser on this machine, with the token behind the ``#``.

    A browser does not send what stands there to any server. *door* is ``HOST:PORT``; raises UsageError if the token
    cannot be read.
    """
    host, _, port = door.rpartition(":")
    if host in ("0.0.0.0", "::", ""):  # noqa: S104 - compared, not bound
        host = "127.0.0.1"
    try:
        token = token_file.read_text()
    except OSError as err:
        raise UsageError(
            f"the console's token {token_file} cannot be read ({err.strerror}); "
            "restart the fleet, or make a key with `tritonfleet key create NAME --admin`"
        ) from err
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/#token={token}"


class AdminToken:
    """The gateway's view of the token's file, which does not change while the fleet is up."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._token: str | None = None

    def fits(self, secret: str | None) -> bool:
        """Say whether *secret* is the token."""
        if not secret or not secret.startswith(PREFIX) or self._path is None:
            return False
        if self._token is None:
            try:
                self._token = self._path.read_text()
            except OSError:
                return False
        return hmac.compare_digest(self._token.encode(), secret.encode("utf-8", "surrogateescape"))


def is_local(scope: MutableMapping[str, Any]) -> bool:
    """Say whether a request comes from this machine; behind a proxy here, its X-Forwarded-For counts."""
    client, server = scope.get("client"), scope.get("server")
    if client is None:
        return False
    # Whoever connects to one of this machine's other addresses from here has that address itself.
    return is_loopback(client[0]) or (server is not None and client[0] == server[0])


def is_loopback(host: str) -> bool:
    """Say whether *host* is an address of the loopback."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def names_this_machine(host: str) -> bool:
    """Say whether a request's Host header is an address, or localhost.

    A page of another site can make its own name mean this machine (DNS rebinding) and then read what is here; it
    cannot make an address of its name.
    """
    name = urlsplit(f"//[{host}]" if host.count(":") > 1 and "[" not in host else f"//{host}").hostname or ""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
