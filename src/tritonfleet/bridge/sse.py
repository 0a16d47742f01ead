"""Server-sent events: the ``data`` fields of a byte stream, however the bytes are cut."""

from __future__ import annotations

from tritonfleet.bridge.failure import BridgeError

DONE = b"[DONE]"

#: An event that grows past this is no answer of an engine (bytes).
MAX_EVENT = 64 * 2**20


class EventParser:
    """Collects bytes and gives complete events back."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the payloads of the events that *chunk* completes; raise BridgeError on one that never ends."""
        data = self._rest + chunk if self._rest else chunk
        end = data.rfind(b"\n")
        if end < 0:
            self._keep(data)
            return []
        self._keep(data[end + 1 :])
        # Engines write one `data` line an event, so each such line is an event; comments and other fields are skipped.
        return [line[5:].strip() for line in data[:end].split(b"\n") if line.startswith(b"data:")]

    def _keep(self, rest: bytes) -> None:
        if len(rest) > MAX_EVENT:
            raise BridgeError(f"the engine sent an event of more than {MAX_EVENT >> 20} MiB")
        self._rest = rest
