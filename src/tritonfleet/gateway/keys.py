"""API keys: made on the command line, kept as hashes in one file, looked up by the gateway.

A key is 32 random bytes, so a plain SHA-256 keeps it safe; a slow hash is for secrets that can be guessed.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tritonfleet.errors import UsageError
from tritonfleet.gateway.problem import Problem

log = logging.getLogger(__name__)

PREFIX = "tf-"
#: How old what the gateway knows of the file may be.
LOOK_SECONDS = 1.0


@dataclass(frozen=True)
class Caller:
    """Who sends a request, and what it may."""

    id: str = ""
    """Id of the key; empty where no key is asked for."""
    models: frozenset[str] | None = None
    """Models and adapters that it may use; None: all."""
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    priority: int = 0
    """The higher, the earlier its requests get their turn when a model is overloaded."""
    admin: bool = False
    """Whether it may manage the fleet in the console: load and unload models, read logs."""


ANYBODY = Caller()


@dataclass(frozen=True)
class Key:
    """A key as the file keeps it."""

    id: str
    name: str
    sha256: str
    shown: str
    """The key's first letters, to tell keys apart."""
    created: str
    models: tuple[str, ...] = ()
    """Empty: all."""
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    priority: int = 0
    admin: bool = False

    @property
    def caller(self) -> Caller:
        """What it allows."""
        return Caller(
            self.id,
            frozenset(self.models) or None,
            self.requests_per_minute,
            self.tokens_per_minute,
            self.priority,
            self.admin,
        )


def digest(secret: str) -> str:
    """Return the hash under which a key is kept."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def read_keys(path: Path) -> tuple[Key, ...]:
    """Return the keys of a file, none if it is missing; raise UsageError if it is damaged."""
    try:
        entries = json.loads(path.read_text())["keys"]
        return tuple(Key(**{**entry, "models": tuple(entry.get("models", ()))}) for entry in entries)
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as err:
        raise UsageError(
            f"the file of API keys {path} cannot be read ({err}); restore it, or remove it and create the keys anew"
        ) from err


def create_key(
    path: Path,
    name: str,
    *,
    models: tuple[str, ...] = (),
    requests_per_minute: int | None = None,
    tokens_per_minute: int | None = None,
    priority: int = 0,
    admin: bool = False,
) -> tuple[str, Key]:
    """Make a key; return its secret, which is kept nowhere, and what the file keeps.

    Raises UsageError if the name is taken, or if an admin key is limited to some models.
    """
    if admin and models:
        raise UsageError("an admin key manages the whole fleet; leave out either --admin or --model")
    secret = PREFIX + secrets.token_urlsafe(32)
    key = Key(
        id=secrets.token_hex(4),
        name=name,
        sha256=digest(secret),
        shown=secret[: len(PREFIX) + 4],
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        models=models,
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
        priority=priority,
        admin=admin,
    )
    with _changing(path) as keys:
        if any(entry.name == name for entry in keys):
            raise UsageError(f"there is a key called {name!r} already; choose another name, or revoke that one first")
        keys.append(key)
    return secret, key


def revoke_key(path: Path, name_or_id: str) -> Key:
    """Remove a key; raise UsageError naming the others if there is none of that name or id."""
    with _changing(path) as keys:
        found = [entry for entry in keys if name_or_id in (entry.id, entry.name)]
        if not found:
            names = ", ".join(sorted(entry.name for entry in keys)) or "none"
            raise UsageError(f"no API key is called {name_or_id!r}; there are: {names}")
        keys.remove(found[0])
    return found[0]


@contextmanager
def _changing(path: Path) -> Iterator[list[Key]]:
    """Give the keys to the block, one process at a time, and write what it made of them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        keys = list(read_keys(path))
        yield keys
        fresh = path.with_suffix(".new")
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w") as file:
            json.dump({"version": 1, "keys": [asdict(entry) for entry in keys]}, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)


class KeyRing:
    """The gateway's view of the file, which may change while it runs.

    Without a file nobody needs a key. Once there was one, keys are asked for until the gateway ends: neither the
    last revocation nor a lost or damaged file opens the door.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._callers: dict[str, Caller] = {}
        self._stamp: tuple[int, int] | None = None
        self._looked = float("-inf")
        self.required = False
        """Whether a request needs a key."""

    def caller(self, secret: str | None) -> Caller:
        """Return who has the key *secret*; raise Problem (401)."""
        self._refresh()
        if not self.required:
            return ANYBODY
        if not secret:
            raise _refused("an API key is needed: send `Authorization: Bearer KEY`")
        found = self._callers.get(digest(secret))
        if found is None:
            raise _refused("the API key is not known here, or was revoked")
        return found

    def _refresh(self) -> None:
        now = time.monotonic()
        if self._path is None or now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        try:
            status = self._path.stat()
        except OSError:
            if self._stamp is not None:
                log.error("the file of API keys %s is gone; nobody gets in", self._path)
                self._callers, self._stamp = {}, None
            return
        stamp = (status.st_mtime_ns, status.st_ino)
        if stamp != self._stamp:
            self.required = True
            self._stamp = stamp
            self._read(self._path)

    def _read(self, path: Path) -> None:
        try:
            self._callers = {key.sha256: replace(key.caller) for key in read_keys(path)}
            log.info("%d API keys", len(self._callers))
        except UsageError as err:
            log.error("%s; the keys read before stay", err)


def secret_in(headers: list[tuple[bytes, bytes]]) -> str | None:
    """Return the key in a request's headers: OpenAI's ``Authorization: Bearer``, Anthropic's ``x-api-key``."""
    for name, value in headers:
        if name == b"authorization":
            scheme, _, secret = value.decode("latin-1").partition(" ")
            if scheme.lower() == "bearer":
                return secret.strip()
        elif name == b"x-api-key":
            return value.decode("latin-1").strip()
    return None


def _refused(message: str) -> Problem:
    return Problem(401, "invalid_api_key", message, headers={"www-authenticate": "Bearer"})


def as_row(key: Key) -> dict[str, Any]:
    """Return a key for a table or JSON, without its hash."""
    row = asdict(key)
    del row["sha256"]
    return row
