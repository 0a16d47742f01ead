"""Run `tritonfleet client`: send the prompts, show how it goes, keep every answer whatever happens."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tritonfleet.client.address import Address
from tritonfleet.client.batch import Outcome, run_batch
from tritonfleet.client.fleet_client import FleetClient
from tritonfleet.client.prompts import Prompt, read_prompts, render_prompts
from tritonfleet.client.report import request_line, totals_lines, verdict_lines
from tritonfleet.client.results import check_writable, write_results
from tritonfleet.client.stats import significant
from tritonfleet.client.template import chat_template
from tritonfleet.errors import FleetError

#: What a shell reports for a program that Ctrl-C ended.
INTERRUPTED = 130


@dataclass(frozen=True)
class Ask:
    """What the person asked for."""

    model: str
    address: Address
    prompts: Path
    results: Path
    stream: bool
    iterations: int
    concurrency: int | None
    """Requests at a time; None sends all at once."""
    timeout_seconds: float | None
    offset: int
    system: str | None
    raw: bool
    sampling: Mapping[str, Any]
    verbose: bool


@dataclass
class _Run:
    """What has happened so far; it outlives an interrupted event loop."""

    asked: int
    outcomes: list[Outcome] = field(default_factory=list)
    started: float = 0.0
    last: float = 0.0
    """When the last outcome came, on the clock of *started*."""

    def add(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        self.last = time.perf_counter()

    @property
    def tokens_per_second(self) -> float:
        """Generated tokens of the finished requests over the wall time."""
        tokens = sum(outcome.generation.output_tokens or 0 for outcome in self.outcomes)
        return tokens / (self.last - self.started) if tokens else 0.0


def ask(wanted: Ask) -> int:
    """Send the prompts and report; return the exit code: 0 if every request was answered, else 1.

    Raises FleetError where nothing could be sent. Answers that came are written even after Ctrl-C.
    """
    lines = read_prompts(wanted.prompts)
    check_writable(wanted.results)
    run = _Run(asked=len(lines) * wanted.iterations)
    interrupted = False
    try:
        with _Screen(wanted.model, run) as screen:
            asyncio.run(_send(wanted, lines, run, screen))
    except (KeyboardInterrupt, asyncio.CancelledError):
        interrupted = True
    except FleetError:
        print("FAIL: no request was sent", flush=True)  # noqa: T201 - text for the user
        raise
    _conclude(wanted, run)
    if interrupted:
        return INTERRUPTED
    return 0 if all(outcome.error is None for outcome in run.outcomes) else 1


async def _send(wanted: Ask, lines: list[str], run: _Run, screen: _Screen) -> None:
    task = asyncio.current_task()
    assert task is not None
    # Like Ctrl-C: cancel what runs, keep what came.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with FleetClient(wanted.address, timeout_seconds=wanted.timeout_seconds) as client:
        await client.check_live()
        prompts, sampling = await _prepare(wanted, lines, client, screen)

        def done(outcome: Outcome) -> None:
            run.add(outcome)
            screen.show(outcome, verbose=wanted.verbose)

        run.started = time.perf_counter()
        await run_batch(
            client,
            wanted.model,
            prompts,
            sampling=sampling,
            stream=wanted.stream,
            concurrency=min(wanted.concurrency or run.asked, run.asked),
            on_done=done,
        )


async def _prepare(
    wanted: Ask, lines: list[str], client: FleetClient, screen: _Screen
) -> tuple[list[Prompt], Mapping[str, Any]]:
    """Return the prompts in the model's chat template, and the sampling parameters that go with them."""
    info = await client.model_info(wanted.model)
    template = None if wanted.raw else chat_template(wanted.model, info.parameters)
    if template is None and not wanted.raw:
        screen.note(f"model {wanted.model!r} has no chat template in its Triton config: prompts are sent as they are")
    prompts = render_prompts(lines, template, system=wanted.system, iterations=wanted.iterations, offset=wanted.offset)
    # A rendered template holds its special tokens already; the tokenizer must not add the first one again.
    added = {"add_special_tokens": False} if template is not None else {}
    return prompts, {**added, **wanted.sampling}


def _conclude(wanted: Ask, run: _Run) -> None:
    """Write the answers that came, then print the totals and PASS or FAIL."""
    write_results(wanted.results, run.outcomes)
    lines = totals_lines(run.outcomes, run.last - run.started) if run.outcomes else []
    lines.append(f"Results: {wanted.results}")
    print("\n".join([*lines, *verdict_lines(run.outcomes, run.asked)]), flush=True)  # noqa: T201 - text for the user


class _Screen:
    """A progress bar under the lines on a terminal; plain lines anywhere else."""

    def __init__(self, model: str, run: _Run) -> None:
        self._model = model
        self._run = run
        self._console = Console(highlight=False, markup=False, soft_wrap=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[rate]}"),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=True,
        )
        self._bar = self._progress.add_task(model, total=run.asked, rate="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, outcome: Outcome, *, verbose: bool) -> None:
        """Show a finished request."""
        self._say(request_line(self._model, outcome))
        if verbose:
            self._say(f"> {outcome.prompt.rendered}\n{outcome.generation.text}\n")
        rate = self._run.tokens_per_second
        self._progress.update(self._bar, advance=1, rate=f"{significant(rate)} tokens/s" if rate else "")

    def note(self, text: str) -> None:
        """Tell something that is no result."""
        Console(stderr=True, highlight=False, markup=False, soft_wrap=True).print(f"note: {text}")

    def _say(self, text: str) -> None:
        if self._console.is_terminal:
            self._console.print(text)
        else:
            # Each line goes out at once and unchanged; a model's text is not the console's markup.
            print(text, flush=True)  # noqa: T201 - text for the user
