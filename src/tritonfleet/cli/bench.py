"""`tritonfleet bench`: load on one door of a running fleet, and how fast it answers."""

from __future__ import annotations

import json
import signal
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tritonfleet.cli.context import FleetArgument, StateOption, open_fleet
from tritonfleet.errors import UsageError

if TYPE_CHECKING:  # imported when they are used: `tritonfleet --help` must be quick
    from rich.console import Console

    from tritonfleet.bench.doors import DoorName, Place
    from tritonfleet.bench.levels import Extent, Level, Search
    from tritonfleet.bench.prompts import Prompts
    from tritonfleet.bench.session import Goal, Session

Option = typer.Option
#: What a shell reports for a program that Ctrl-C ended.
INTERRUPTED = 130


def bench(
    fleet: FleetArgument = None,
    model: Annotated[str | None, Option("--model", "-m", help="Model to ask. [default: the fleet's only one]")] = None,
    door: Annotated[str, Option("--door", help="One of engine, kserve-grpc, kserve-http, openai.")] = "kserve-grpc",
    concurrency: Annotated[
        str | None, Option("--concurrency", "-c", help="Closed loop: streams at a time, e.g. 1,8,32. [default: 1]")
    ] = None,
    rate: Annotated[str | None, Option("--rate", help="Open loop: requests per second on average, e.g. 0.5,2.")] = None,
    requests: Annotated[int | None, Option("--requests", min=1, help="Requests of each load.")] = None,
    duration: Annotated[str | None, Option("--duration", help="Length of each load instead, e.g. 30s.")] = None,
    prompts: Annotated[Path | None, Option("--prompts", help="UTF-8 file, one prompt a line, sent as it is.")] = None,
    prompt_words: Annotated[int, Option("--prompt-words", min=1, help="Words of synthetic prompts.")] = 200,
    max_tokens: Annotated[int, Option("--max-tokens", min=1, help="Tokens of an answer.")] = 128,
    stop_at_end: Annotated[bool, Option("--stop-at-end", help="Let answers be shorter than --max-tokens.")] = False,
    sampling: Annotated[str | None, Option("--sampling", help="Further sampling parameters as a JSON object.")] = None,
    find_concurrency: Annotated[
        bool, Option("--find-concurrency", help="Find the most streams at which --ttft-goal still holds.")
    ] = False,
    ttft_goal: Annotated[str, Option("--ttft-goal", help="Time to first token to be kept.")] = "500ms",
    ttft_percentile: Annotated[float, Option("--ttft-percentile", min=1, max=100, help="Share it must hold for.")] = 95,
    max_concurrency: Annotated[int, Option("--max-concurrency", min=1, help="The search ends here.")] = 1024,
    url: Annotated[str | None, Option("--url", "-u", help="The door's HOST:PORT, for a fleet elsewhere.")] = None,
    api_key: Annotated[
        str | None, Option("--api-key", envvar="TRITONFLEET_API_KEY", help="Key for the openai door.")
    ] = None,
    timeout: Annotated[str, Option("--timeout", "-t", help="Longest time for one request.")] = "10m",
    processes: Annotated[int | None, Option("--processes", min=1, help="Load generators. [default: by cores]")] = None,
    json_file: Annotated[Path | None, Option("--json", help="Write everything measured into this file.")] = None,
    plot: Annotated[Path | None, Option("--plot", help="Draw throughput and TTFT into this PNG.")] = None,
    state: StateOption = None,
) -> None:
    """Measure a model at one door: tokens/s, TTFT, TPOT and errors under a closed or an open load."""
    from tritonfleet.bench.levels import Extent, parse_duration, parse_levels
    from tritonfleet.bench.session import Goal

    if requests is not None and duration is not None:
        raise UsageError("--requests and --duration both say how long a load lasts; drop one of them")
    if find_concurrency and (concurrency is not None or rate is not None):
        raise UsageError("--find-concurrency chooses the streams itself; drop --concurrency and --rate")
    goal = Goal(parse_duration(ttft_goal, "--ttft-goal"), ttft_percentile, max_concurrency)
    run = _Run(
        place=_place(fleet, state, model, _door(door), url, api_key),
        levels=parse_levels(concurrency, rate),
        extent=Extent(requests, parse_duration(duration, "--duration") if duration else None),
        goal=goal if find_concurrency else None,
        processes=processes,
        timeout_seconds=parse_duration(timeout, "--timeout"),
        json_file=json_file,
        plot=plot,
    )
    code = run.run(_prompts(prompts, prompt_words), _sampling(sampling, max_tokens, stop_at_end))
    if code:
        raise typer.Exit(code)


def _door(text: str) -> DoorName:
    from difflib import get_close_matches

    from tritonfleet.bench.doors import DOOR_NAMES

    for name in DOOR_NAMES:
        if text == name:
            return name
    near = get_close_matches(text, DOOR_NAMES, n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise UsageError(f"no door is called {text!r}{hint} The doors: {', '.join(DOOR_NAMES)}")


def _place(
    fleet: Path | None, state: Path | None, model: str | None, door: DoorName, url: str | None, api_key: str | None
) -> Place:
    from tritonfleet.bench.doors import Place, places

    if url is not None:
        if model is None:
            raise UsageError("--url says where the door is, but not which model to ask; add --model")
        return Place(door, door, url, model, api_key)
    status = open_fleet(fleet, state, must_exist=False).client.status()
    names = [entry.model for entry in status.models]
    if model is None and len(names) != 1:
        raise UsageError(f"fleet {status.fleet!r} has several models; choose one with --model: {', '.join(names)}")
    return places(status, model or names[0], api_key)[door]


def _prompts(path: Path | None, words: int) -> Prompts:
    from tritonfleet.bench.prompts import Given, Synthetic
    from tritonfleet.client.prompts import read_prompts

    return Synthetic(words) if path is None else Given(tuple(read_prompts(path)))


def _sampling(text: str | None, max_tokens: int, stop_at_end: bool) -> dict[str, Any]:
    from tritonfleet.client.sampling import build_sampling

    return build_sampling(text, max_tokens=max_tokens, temperature=0.0, ignore_eos=None if stop_at_end else True)


@dataclass(frozen=True)
class _Run:
    """What the person asked for."""

    place: Place
    levels: list[Level]
    extent: Extent
    goal: Goal | None
    processes: int | None
    timeout_seconds: float
    json_file: Path | None
    plot: Path | None

    def run(self, prompts: Prompts, sampling: dict[str, Any]) -> int:
        """Measure and report; return the exit code: 1 if a request failed, 130 after Ctrl-C."""
        from rich.console import Console

        from tritonfleet.bench.crew import Work
        from tritonfleet.bench.session import Session

        self._check_files()
        console = Console(highlight=False, soft_wrap=True)
        work = Work(self.place, prompts, sampling, self.timeout_seconds, keep_gaps=True)
        session = Session(work, self.extent)
        found: dict[str, Any] | None = None
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # like Ctrl-C: keep what came
        try:
            if self.goal is None:
                session.measure(self.levels, self.processes, console)
            else:
                found = _found(session.search(self.goal, self.processes, console), self.goal)
        except KeyboardInterrupt:
            session.interrupted = True
        self._report(session, found, console)
        if session.interrupted:
            return INTERRUPTED
        missed = found is not None and found["concurrency"] == 0
        return 1 if missed or (session.failed and found is None) else 0

    def _check_files(self) -> None:
        from tritonfleet.bench.plot import check_plot

        if self.plot is not None:
            check_plot(self.plot)
        if self.json_file is not None and not self.json_file.absolute().parent.is_dir():
            raise UsageError(f"--json {self.json_file}: the folder {self.json_file.absolute().parent} does not exist")

    def _report(self, session: Session, found: dict[str, Any] | None, console: Console) -> None:
        from tritonfleet.bench.outcome import failure_lines, table, to_json
        from tritonfleet.bench.plot import write_plot

        outcomes = [outcome for outcome in session.outcomes if outcome.complete or outcome.samples or outcome.failures]
        if found is not None:  # the search jumps to and fro
            outcomes.sort(key=lambda outcome: outcome.level.streams or 0)
        title = f"{self.place.model} at {self.place.door} ({self.place.where})"
        console.print(title)
        console.print(table(outcomes) if outcomes else "nothing was measured")
        for line in failure_lines(outcomes):
            console.print(line, style="red", markup=False)
        if found is not None:
            console.print(found_text(found))
        if self.json_file is not None:
            data = to_json(outcomes, self._about(session), found)
            self.json_file.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
            console.print(f"everything measured: {self.json_file}")
        if self.plot is not None and outcomes:
            write_plot(outcomes, title, self.plot)
            console.print(f"plot: {self.plot}")

    def _about(self, session: Session) -> dict[str, Any]:
        from tritonfleet import __version__

        return {
            "made": datetime.now(UTC).isoformat(timespec="seconds"),
            "tritonfleet": __version__,
            "model": self.place.model,
            "door": self.place.door,
            "where": self.place.where,
            "sampling": dict(session.work.sampling),
            "prompts": type(session.work.prompts).__name__.lower(),
        }


def _found(search: Search, goal: Goal) -> dict[str, Any]:
    return {
        "concurrency": search.held,
        "missed": search.missed,
        "ttft_goal_seconds": goal.ttft_seconds,
        "percentile": goal.percent,
    }


def found_text(found: dict[str, Any]) -> str:
    """Return the search's result in words."""
    goal = f"TTFT p{found['percentile']:g} <= {found['ttft_goal_seconds'] * 1e3:g} ms"
    if found["concurrency"] == 0:
        return f"{goal} does not hold at 1 stream already; see the table"
    if found["missed"] is None:
        return f"{goal} holds up to {found['concurrency']} streams, where the search ended (--max-concurrency)"
    return (
        f"{goal} holds up to {found['concurrency']} streams, and not at {found['missed']}; "
        f"in fleet.yaml: scaling: {{concurrency: {found['concurrency']}, "
        f"ttft_goal_seconds: {found['ttft_goal_seconds']:g}}}"
    )
