"""Which responses leave first when many wait."""

from __future__ import annotations

import threading
from typing import Any

from tritonfleet.bridge.answer import Answer
from tritonfleet.bridge.delivery import Delivery, Outbox
from tritonfleet.bridge.failure import BridgeError
from tritonfleet.bridge.generation import Generation


class Held:
    """A responder whose first send waits until it is let go; all note who sent."""

    def __init__(self, name: str, log: list[str], hold: threading.Event | None = None) -> None:
        self.name = name
        self.log = log
        self.hold = hold
        self.began = threading.Event()

    def send(self, tensors: Any, *, final: bool) -> None:
        self.began.set()
        if self.hold is not None:
            assert self.hold.wait(10)
        self.log.append(self.name)

    def fail(self, error: BridgeError) -> None:
        self.log.append(f"{self.name} failed")

    def is_cancelled(self) -> bool:
        return False


def with_text(responder: Held) -> Delivery:
    delivery = Delivery(responder, closed=lambda: None)
    delivery.request = Generation("prompt", stream=True)
    delivery.answer = Answer(delivery.request)
    say(delivery)
    return delivery


def say(delivery: Delivery) -> None:
    assert delivery.answer is not None
    delivery.answer.take({"choices": [{"index": 0, "text": "word"}]})


def test_a_first_response_overtakes_the_further_ones_that_wait() -> None:
    log: list[str] = []
    go = threading.Event()
    outbox = Outbox(1)
    older = [with_text(Held(f"older {number}", log)) for number in range(3)]
    for delivery in older:
        while delivery.deliver():
            pass
        say(delivery)
    log.clear()
    blocking = Held("blocking", log, go)
    outbox.post(with_text(blocking))
    assert blocking.began.wait(10)
    for delivery in older:
        outbox.post(delivery)
    outbox.post(with_text(Held("new", log)))
    go.set()
    outbox.close()
    assert log == ["blocking", "new", "older 0", "older 1", "older 2"]
