"""Notice that clients gave their requests up: one thread asks Triton about all of them in turn."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Protocol

#: Time between two rounds; a cancelled request runs on for about this long.
ROUND_SECONDS = 0.1
#: A round may take at most this share of the time: each question goes to the server process and back.
MAX_SHARE = 0.05


class Watched(Protocol):
    """A request in flight."""

    def is_cancelled(self) -> bool:
        """Ask Triton; blocks for about 0.1 ms."""
        ...

    def cancel(self) -> None:
        """Give the request up; called from the watcher's thread."""
        ...


class CancelWatch:
    """Looks at every request that *running* gives, about ten times a second, and sleeps while there is none."""

    def __init__(self, running: Callable[[], Iterable[Watched]]) -> None:
        self._running = running
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="cancel-watch", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """There is a request to watch."""
        if not self._wake.is_set():
            self._wake.set()

    def close(self) -> None:
        """End the thread."""
        self._stop.set()
        self._wake.set()
        self._thread.join()

    def _work(self) -> None:
        pause = ROUND_SECONDS
        while True:
            self._wake.wait()
            if self._stop.wait(pause):
                return
            started = time.monotonic()
            self._wake.clear()
            for request in self._running():
                self._wake.set()
                if request.is_cancelled():
                    request.cancel()
            pause = pause_after(time.monotonic() - started)


def pause_after(round_seconds: float) -> float:
    """Return how long to wait after a round that took *round_seconds*."""
    return max(ROUND_SECONDS, round_seconds / MAX_SHARE - round_seconds)
