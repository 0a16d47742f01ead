"""A logits processor for vLLM: each step takes as long as one of a busy GPU, and the CPU is free meanwhile.

On a GPU a step's time is the device's, and another replica brings another device. Two vLLM engines on the CPU compete
for the same cores instead, and a second one adds nothing. With steps that are mostly waiting, what limits an engine is
its slots (`max_num_seqs`), whatever else the machine does, and replicas add up as they do on GPUs of their own. All
else is vLLM as it is: scheduler, queue, batching, sampling, metrics and its servers.
"""

from __future__ import annotations

import os
import time
from typing import Any

from vllm.v1.sample.logits_processor import LogitsProcessor

#: Shortest time of a step, in milliseconds.
VARIABLE = "PACED_STEP_MS"


class PacedDevice(LogitsProcessor):
    """Ends no step before its time, and changes no logits."""

    def __init__(self, vllm_config: Any, device: Any, is_pin_memory: bool) -> None:
        del vllm_config, device, is_pin_memory
        self._seconds = float(os.environ[VARIABLE]) / 1000
        self._began = time.monotonic()

    def update_state(self, batch_update: Any) -> None:
        """Take the time: vLLM calls this before each forward pass."""
        del batch_update
        self._began = time.monotonic()

    def apply(self, logits: Any) -> Any:
        """Wait for the rest of the step, as one waits for a GPU."""
        time.sleep(max(0.0, self._began + self._seconds - time.monotonic()))
        return logits

    def is_argmax_invariant(self) -> bool:
        """Say no, or vLLM would leave it out for greedy requests."""
        return False
