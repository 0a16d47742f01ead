"""Noticing that clients gave up, at a bounded cost."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from tritonfleet.bridge.watch import MAX_SHARE, ROUND_SECONDS, CancelWatch, pause_after


class Request:
    """A request in flight whose client can give up."""

    def __init__(self) -> None:
        self.given_up = False
        self.asked = threading.Event()
        self.cancelled = threading.Event()

    def is_cancelled(self) -> bool:
        """Answer as Triton would."""
        self.asked.set()
        return self.given_up

    def cancel(self) -> None:
        """Record it."""
        self.cancelled.set()


def test_a_request_that_was_given_up_is_cancelled() -> None:
    """And only that one."""
    requests = [Request(), Request()]
    watch = CancelWatch(lambda: requests)
    try:
        watch.wake()
        assert requests[1].asked.wait(5)
        requests[0].given_up = True
        assert requests[0].cancelled.wait(5)
        assert not requests[1].cancelled.is_set()
    finally:
        watch.close()


def test_the_watch_sleeps_without_requests_and_wakes_with_one() -> None:
    """Nobody is asked again after the last request has gone."""
    requests = [Request()]
    rounds = []
    slept = threading.Event()

    def running() -> list[Request]:
        rounds.append(len(requests))
        if not requests:
            slept.set()
        return list(requests)

    watch = CancelWatch(running)
    try:
        watch.wake()
        assert requests[0].asked.wait(5)
        requests.clear()
        assert slept.wait(5)
        request = Request()
        requests.append(request)
        watch.wake()
        assert request.asked.wait(5)
    finally:
        watch.close()


@given(st.floats(0, 100))
def test_long_rounds_are_rare(seconds: float) -> None:
    """Asking never takes more than its share of the time."""
    pause = pause_after(seconds)
    assert pause >= ROUND_SECONDS
    assert seconds / (seconds + pause) <= MAX_SHARE + 1e-9
