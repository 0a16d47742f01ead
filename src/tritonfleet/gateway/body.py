"""Read a request body, within limits."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from starlette.types import Receive

from tritonfleet.gateway.engines import Headers
from tritonfleet.gateway.exchange import ClientGone, Exchange, Wait
from tritonfleet.gateway.problem import Problem

#: The connection is closed with these errors: what is left of the body is not worth reading.
_CLOSE = {"connection": "close"}
#: Smaller bodies are not counted against the total: their number is bounded by the connections.
SMALL_BYTES = 16 * 1024
#: Longest time in which the rest of a refused body is read.
LINGER_SECONDS = 2.0


class BodyReader:
    """Reads bodies for one worker; keeps count of what all of them hold."""

    def __init__(self, max_body_bytes: int, max_held_bytes: int) -> None:
        self._max_body = max_body_bytes
        self._max_held = max_held_bytes
        self.held = 0
        """Bytes of large bodies that are held now."""

    async def read(self, headers: Headers, receive: Receive, exchange: Exchange) -> bytes | bytearray:
        """Return the whole body; the caller gives it back with ``release``.

        Raises Problem: 413 over the limit, 415 for a compressed body, 429 while too much is held; ClientGone.
        """
        self._check(headers)
        exchange.wait = Wait.BODY
        message = await receive()
        if message["type"] == "http.request" and not message.get("more_body"):
            body: bytes | bytearray = message["body"]  # it came in one piece
        else:
            body = bytearray()
            while True:
                if message["type"] == "http.disconnect":
                    raise ClientGone
                body += message["body"]
                if len(body) > self._max_body:
                    raise self._too_large()
                if self.held + len(body) > self._max_held:
                    raise _too_much()
                if not message.get("more_body"):
                    break
                exchange.steps += 1
                message = await receive()
        if len(body) > SMALL_BYTES:
            self.held += len(body)
        exchange.wait = Wait.NOTHING
        exchange.steps += 1
        return body

    async def linger(self, receive: Receive) -> None:
        """Read and drop what is left of a body, within limits.

        Closing with unread bytes resets the connection, and the client would lose the error that it was just sent.
        """
        left = self._max_body
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                while left > 0:
                    message = await receive()
                    left -= len(message.get("body", b""))
                    if not message.get("more_body"):
                        return

    def release(self, body: bytes | bytearray) -> None:
        """Tell that a body is not held any more."""
        if len(body) > SMALL_BYTES:
            self.held -= len(body)

    def _check(self, headers: Headers) -> None:
        for name, value in headers:
            if name == b"content-length" and value.isdigit() and int(value) > self._max_body:
                raise self._too_large()
            if name == b"content-encoding" and value.lower() not in (b"identity", b""):
                raise Problem(
                    415,
                    "unsupported_encoding",
                    f"the body is compressed ({value.decode('latin-1')}); send it as it is",
                    headers=_CLOSE,
                )

    def _too_large(self) -> Problem:
        return Problem(
            413,
            "content_too_large",
            f"the body is larger than {self._max_body} bytes, the limit of this door (gateway.max_body_bytes)",
            headers=_CLOSE,
        )


def _too_much() -> Problem:
    return Problem(
        429,
        "overloaded",
        "the gateway holds as many large requests as it may; try again later",
        retry_after_seconds=5.0,
        headers=_CLOSE,
    )
