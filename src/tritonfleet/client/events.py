"""Server-sent events out of a byte stream. Pure."""

from __future__ import annotations


class EventSplitter:
    """Cuts a stream of bytes into the data of its events, however the network cut it.

    Knows what Triton and OpenAI servers send: events of one ``data:`` line, an empty line after each.
    """

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the data of the events that *data* completes."""
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        return [line[5:].strip() for line in lines if line.startswith(b"data:")]

    @property
    def complete(self) -> bool:
        """Whether the stream may end here: no part of a line is left."""
        return not self._rest.strip()
