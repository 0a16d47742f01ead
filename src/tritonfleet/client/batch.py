"""Many requests to one model, so many of them at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tritonfleet.client.fleet_client import FleetClient
from tritonfleet.client.generation import Generation
from tritonfleet.client.messages import GenerateRequest
from tritonfleet.client.prompts import Prompt
from tritonfleet.errors import RequestFailed


@dataclass(frozen=True)
class Outcome:
    """What came of one prompt."""

    prompt: Prompt
    generation: Generation
    """The answer; as far as it came where *error* is set."""
    error: RequestFailed | None = None


async def run_batch(
    client: FleetClient,
    model: str,
    prompts: Iterable[Prompt],
    *,
    sampling: Mapping[str, Any],
    stream: bool,
    concurrency: int,
    on_done: Callable[[Outcome], None],
) -> None:
    """Send *prompts*, *concurrency* at a time, and give each outcome to *on_done* as it comes.

    A failed request is an outcome like any other; cancelling this cancels the requests that run.
    """
    waiting = iter(prompts)

    async def work() -> None:
        for prompt in waiting:
            request = GenerateRequest(model, prompt.rendered, sampling, stream, str(prompt.request_id))
            generation, error = await client.attempt(request)
            on_done(Outcome(prompt, generation, error))

    await client.model_info(model)
    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(work())
