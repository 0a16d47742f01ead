"""uvicorn's HTTP protocol with what it lacks: a deadline and a limit of size for a request's headers."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: Most bytes of a request's line and headers.
MAX_HEADER_BYTES = 64 * 1024


class PatientProtocol(HttpToolsProtocol):
    """Closes a connection whose headers do not come, or do not end."""

    header_seconds = 15.0

    _deadline: asyncio.TimerHandle | None = None
    _in_headers = False
    _header_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Expect the first headers."""
        super().connection_made(transport)
        self._deadline = self.loop.call_later(self.header_seconds, self._too_late)

    def data_received(self, data: bytes) -> None:
        """Parse; if the headers are still not complete, mind their deadline and size."""
        super().data_received(data)
        if not self._in_headers or self.transport.is_closing():
            return
        if self._deadline is None:
            self._deadline = self.loop.call_later(self.header_seconds, self._too_late)
        self._header_bytes += len(data)
        if self._header_bytes > MAX_HEADER_BYTES:
            self.send_400_response(f"The headers are larger than {MAX_HEADER_BYTES} bytes.")

    def on_message_begin(self) -> None:
        """Headers begin."""
        self._in_headers, self._header_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Headers are there."""
        self._in_headers = False
        self._forget_deadline()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is expected any more."""
        self._forget_deadline()
        super().connection_lost(exc)

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_late(self) -> None:
        self._deadline = None
        self.transport.close()


def protocol(header_seconds: float) -> type[PatientProtocol]:
    """Return the protocol with this deadline."""
    return type("Protocol", (PatientProtocol,), {"header_seconds": header_seconds})
