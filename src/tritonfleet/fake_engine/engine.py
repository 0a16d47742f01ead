"""The fake engine itself: runs requests at the scripted pace and fails where it was told to."""

from __future__ import annotations

import asyncio
import math
import os
import sys
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import replace

from tritonfleet.fake_engine.answer import Step, answer
from tritonfleet.fake_engine.chunks import Choice
from tritonfleet.fake_engine.metrics import Metrics
from tritonfleet.fake_engine.options import Options
from tritonfleet.fake_engine.request import BadRequest, GenerationRequest
from tritonfleet.fake_engine.scheduler import Scheduler
from tritonfleet.fake_engine.sleep import CRASH_STATUS, SleepMode
from tritonfleet.fake_engine.vocabulary import Vocabulary


class InternalError(Exception):
    """A request fails because --error-rate says so."""


class UnknownModel(Exception):
    """The request names a model that is not served here."""


class Engine:
    """One engine: its requests, its counters and its troubles."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.vocabulary = Vocabulary()
        self.metrics = Metrics(options.name)
        self.scheduler = Scheduler(options.max_running)
        self.sleep_mode = SleepMode(options, self.scheduler)
        self._accepted = 0

    @property
    def names(self) -> tuple[str, ...]:
        """Values of ``model`` that are served."""
        return (self.options.name, *self.options.adapters)

    def exposition(self) -> str:
        """Return the text of /metrics."""
        scheduler = self.scheduler
        return self.metrics.exposition(
            running=scheduler.running, waiting=scheduler.waiting, max_running=self.options.max_running
        )

    def accept(self, request: GenerationRequest) -> int:
        """Check a request and return its number from 1; raise UnknownModel, BadRequest or InternalError."""
        if request.model and request.model not in self.names:
            raise UnknownModel(f"The model `{request.model}` does not exist.")
        for prompt in request.prompts:
            total = len(prompt.ids) + (request.max_tokens or 1)
            if total > self.options.max_model_len:
                raise BadRequest(
                    f"This model's maximum context length is {self.options.max_model_len} tokens. However, you "
                    f"requested {request.max_tokens or 1} output tokens and your prompt contains {len(prompt.ids)} "
                    f"input tokens, for a total of {total} tokens. Please reduce the length of the input prompt or the "
                    "number of requested output tokens.",
                    "input_tokens",
                )
        self._accepted += 1
        rate = self.options.error_rate
        if math.floor(self._accepted * rate) > math.floor((self._accepted - 1) * rate):
            raise InternalError(f"request {self._accepted} fails, as --error-rate {rate:g} says")
        return self._accepted

    async def run(self, request: GenerationRequest, number: int) -> AsyncGenerator[tuple[Choice, Step]]:
        """Yield the steps of all choices as they are generated; leaving the loop early aborts the request."""
        arrived = time.monotonic()
        reasons: list[str] = []
        try:
            async with self.scheduler.turn(request.priority):
                self._count_prompts(request)
                async with aclosing(self._generate(request, number, arrived)) as steps:
                    async for choice, step in steps:
                        if step.finish_reason:
                            reasons.append(step.finish_reason)
                        yield choice, step
        finally:
            expected = len(request.prompts) * request.n
            self.metrics.finished.update([*reasons, *["abort"] * (expected - len(reasons))])
            self.metrics.request.observe(time.monotonic() - arrived)

    async def _generate(
        self, request: GenerationRequest, number: int, arrived: float
    ) -> AsyncGenerator[tuple[Choice, Step]]:
        options = self.options
        live = [(choice, self._steps(request, choice)) for choice in choices_of(request)]
        due = time.monotonic() + options.ttft_ms / 1000
        before = arrived
        while live:
            await _until(due)
            now = time.monotonic()
            (self.metrics.ttft if before is arrived else self.metrics.inter_token).observe(now - before)
            before = now
            still = []
            for choice, steps in live:
                step = Step("", "", None, "abort") if self.scheduler.sleeping else next(steps)
                if self.sleep_mode.noise and step.text:
                    step = replace(step, text="!")
                choice.take(step)
                self.metrics.generation_tokens += step.token_id is not None
                yield choice, step
                if step.finish_reason is None:
                    still.append((choice, steps))
            self._crash_if_told(number)
            live = still
            due += options.tpot_ms / 1000

    def _steps(self, request: GenerationRequest, choice: Choice) -> Iterator[Step]:
        return answer(
            request,
            choice.prompt,
            choice.index % request.n,
            self.vocabulary,
            answer_tokens=self.options.answer_tokens,
            room=max(self.options.max_model_len - len(choice.prompt.ids), 1),
        )

    def _count_prompts(self, request: GenerationRequest) -> None:
        tokens = sum(len(prompt.ids) for prompt in request.prompts)
        self.metrics.prompt_tokens += tokens
        self.metrics.prefix_queries += tokens

    def _crash_if_told(self, number: int) -> None:
        if number == self.options.crash_after:
            print(f"fake engine: dies in request {number}, as it was told", file=sys.stderr, flush=True)  # noqa: T201
            os._exit(CRASH_STATUS)


def choices_of(request: GenerationRequest) -> list[Choice]:
    """Return the empty answers to a request: n for each prompt, in vLLM's order."""
    return [
        Choice(number * request.n + index, prompt)
        for number, prompt in enumerate(request.prompts)
        for index in range(request.n)
    ]


async def _until(due: float) -> None:
    """Wait for a moment of the scripted pace; when it has passed, only let others run."""
    await asyncio.sleep(max(due - time.monotonic(), 0))
