"""Hand responses to Triton off the event loop, joining what a request has gathered meanwhile.

A send takes Triton about 0.2 ms, most of it waiting for the server process. While a request waits for its turn, or is
being sent, its further tokens gather in its answer and leave together in its next response: the busier the server, the
fewer and larger the responses.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Protocol

from tritonfleet.bridge.answer import Answer
from tritonfleet.bridge.failure import BridgeError
from tritonfleet.bridge.generation import Generation
from tritonfleet.bridge.respond import Tensors, response_tensors


class Responder(Protocol):
    """Triton's response sender of one request. Its methods block, and must not run at the same time."""

    def send(self, tensors: Tensors, *, final: bool) -> None:
        """Send one response; raise BridgeError if Triton does not take it."""
        ...

    def fail(self, error: BridgeError) -> None:
        """Send the error as the final response."""
        ...

    def is_cancelled(self) -> bool:
        """Whether the client gave the request up."""
        ...


class Delivery:
    """The responses of one request, in order, the last of them final."""

    def __init__(self, responder: Responder, closed: Callable[[], None]) -> None:
        self.closed = False
        """Whether the final response was sent."""
        self.responses = 0
        self.lock = threading.Lock()
        """Guards the answer, which the event loop fills and a sender empties."""
        self.answer: Answer | None = None
        self.request: Generation | None = None
        self._ready: Tensors | None = None
        self._error: BridgeError | None = None
        self._refused = False
        # Given up with the final response: Triton cannot unload the model before the last sender is freed, and frees
        # then what `is_cancelled` looks at.
        self._responder: Responder | None = responder
        self._sending = threading.Lock()
        self._queued = False
        self._on_closed = closed

    def mark_queued(self) -> bool:
        """Note that the delivery waits for a sender; false if it does already, or needs none any more."""
        with self.lock:
            if self._queued or self.closed:
                return False
            self._queued = True
            return True

    def finish(self, tensors: Tensors) -> None:
        """Let *tensors* be the only and final response."""
        with self.lock:
            self._ready = tensors

    def fail(self, error: BridgeError) -> None:
        """End with *error* after the text that came before it."""
        with self.lock:
            if self._error is None:
                self._error = error

    def deliver(self) -> bool:
        """Send one response if there is something to send; return whether there is more."""
        with self.lock:
            tensors, final = self._next()
            if tensors is None and self._error is None:
                self._queued = False
                return False
        with self._sending:
            final = self._send(tensors, final)
            if final:
                self.closed = True
                self._responder = None
        with self.lock:
            more = not self.closed and (self._error is not None or self._has_news())
            self._queued = more
        if final:
            self._on_closed()
        return more

    def is_cancelled(self) -> bool:
        """Ask Triton whether the client gave up; false once everything was sent."""
        with self._sending:
            return self._responder is not None and self._responder.is_cancelled()

    def _has_news(self) -> bool:
        if self._ready is not None:
            return True
        answer, request = self.answer, self.request
        return answer is not None and request is not None and (answer.finished or (request.stream and answer.news))

    def _next(self) -> tuple[Tensors | None, bool]:
        if self.closed or self._refused or not self._has_news():
            return None, False
        if self._ready is not None:
            return self._ready, True
        assert self.answer is not None
        assert self.request is not None
        piece = self.answer.pull()
        return response_tensors(piece, self.request), piece.final

    def _send(self, tensors: Tensors | None, final: bool) -> bool:
        """Send and return whether that was the final response."""
        assert self._responder is not None
        try:
            if tensors is not None:
                self.responses += 1
                self._responder.send(tensors, final=final)
                return final
            assert self._error is not None
            self._responder.fail(self._error)
        except BridgeError as err:
            if tensors is not None:  # for example no shared memory left
                self._error, self._refused = err, True
                return False
        return True


class Outbox:
    """A few threads that send what is ready; with none, the caller sends.

    First responses go before further ones: behind all the tokens of a full engine they would wait longest, and a
    person waits for them.
    """

    def __init__(self, threads: int) -> None:
        self._first: deque[Delivery] = deque()
        self._further: deque[Delivery] = deque()
        # One entry for each delivery in the two lines above; false ends a thread.
        self._queue: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"outbox-{number}", daemon=True) for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def post(self, delivery: Delivery) -> None:
        """Have *delivery*'s news sent; never waits if there are threads."""
        if not delivery.mark_queued():
            return
        if self._threads:
            self._put(delivery)
        else:
            while delivery.deliver():
                pass

    def close(self) -> None:
        """Send what is queued, then end the threads."""
        for _ in self._threads:
            self._queue.put(False)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while self._queue.get():
            delivery = self._next()
            if delivery.deliver():
                self._put(delivery)

    def _put(self, delivery: Delivery) -> None:
        (self._further if delivery.responses else self._first).append(delivery)
        self._queue.put(True)

    def _next(self) -> Delivery:
        try:
            return self._first.popleft()
        except IndexError:
            return self._further.popleft()
