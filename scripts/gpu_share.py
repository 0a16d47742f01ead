"""Models that share one GPU, measured: errors, time to first token, switches; and what the simulator had said.

A running fleet gets a Poisson trace with a shifting favourite at its OpenAI door. Before that its engine's own times
are measured there (time to first token by prompt length, time per token by batch, a switch without load), and the
simulator replays the same trace with them. Everything is started by scripts/gpu/share.sh, one mode a call, each
within 9 minutes; on a GPU host without network::

    bash scripts/gpu/share.sh /tmp/prefix $OUT shared      # four models take turns
    bash scripts/gpu/share.sh /tmp/prefix $OUT squeezed    # four models with a quarter of the memory each
    bash scripts/gpu/share.sh /tmp/prefix $OUT restart     # two models that are stopped and started for each other
    python scripts/gpu_share.py --compare shared.json squeezed.json restart.json --png share.png

Without a GPU, with fake engines: ``FAKE=1 bash scripts/gpu/share.sh - OUT shared``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import aiohttp

from tritonfleet.planner import gather_facts, machine_here, plan
from tritonfleet.simulate import Replay, Request, Scene, Seat, Shape, Speed, generate, replay
from tritonfleet.spec import FleetSpec, load_spec
from tritonfleet.supervisor.seats import Policy

SHAPE = {"seconds": 80.0, "rate": 3.0, "shift_seconds": 20.0, "prompt_tokens": 256, "output_tokens": 64}
REQUEST_SECONDS = 60.0
#: Tokens of the shortest prompt whose first token is timed; the longest is an option.
SHORT = 16
BATCHES = (1, 8, 32)
#: Prompts are made of token ids below this; every model here has more.
VOCABULARY = 1000
#: A switch in this part is the sleep, the rest the wake (0.31 s and 0.74 s on an H200).
SLEEP_PART = 0.3
#: Time to end an engine for the next one, where no engine sleeps.
STOP_SECONDS = 5.0


@dataclass
class Sample:
    """One request as the client saw it. Times are seconds since the start of the trace."""

    model: str
    arrival: float
    prompt_tokens: int
    output_tokens: int
    ttft: float | None = None
    end: float | None = None
    tokens: int = 0
    error: str = ""


def main() -> int:
    """Measure a running fleet, or compare results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--fleet", type=Path, help="fleet.yaml of the running fleet")
    parser.add_argument("--state", type=Path, help="its state folder")
    parser.add_argument("--out", type=Path, default=Path("share.json"), help="JSON result")
    parser.add_argument("--seconds", type=float, default=SHAPE["seconds"], help="length of the trace")
    parser.add_argument("--rate", type=float, default=SHAPE["rate"], help="requests per second")
    parser.add_argument("--longest", type=int, default=1536, help="tokens of the longest prompt that is timed")
    parser.add_argument("--seed", type=int, default=1, help="seed of the trace")
    parser.add_argument("--up-seconds", type=float, default=0.0, help="time that `up` took, for the record")
    parser.add_argument("--compare", type=Path, nargs="+", help="results to put beside each other")
    parser.add_argument("--png", type=Path, help="picture of --compare")
    options = parser.parse_args()
    if options.compare:
        return compare([json.loads(path.read_text()) for path in options.compare], options.png)
    return asyncio.run(measure(options))


async def measure(options: argparse.Namespace) -> int:
    """Measure everything, writing the result after each part; return 1 if a request failed."""
    spec = load_spec(options.fleet)
    status = fleet_status(options)
    ready = [model["model"] for model in status["models"] if model["state"] in ("ready", "asleep")]
    if not ready:
        raise SystemExit("no model is up; the logs say why")
    mode = mode_of(spec)
    result: dict[str, Any] = {"mode": mode, "gpu": gpu_name(), "models": ready}
    result |= {"up_seconds": options.up_seconds, "status_before": status}
    shape = {**SHAPE, "seconds": options.seconds, "rate": options.rate}
    trace = generate(Shape(tuple(ready), **shape), options.seed)
    result["trace"] = {**shape, "seed": options.seed, "requests": len(trace)}
    write(options.out, result)
    door = f"http://{status['doors']['openai']}"
    timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
    async with aiohttp.ClientSession(door, timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as session:
        speed = await measure_speed(session, ready[0], options.longest, kv_tokens(options.fleet, ready[0]))
        result["speed"] = asdict(speed)
        write(options.out, result)
        if mode == "shared":
            base = speed.overhead_seconds + speed.tpot(1) + SHORT / speed.prefill_tokens_per_second
            result["switch_seconds"] = await measure_switches(session, ready, base)
            say(f"switches without load: {[round(seconds, 2) for seconds in result['switch_seconds']]}")
            write(options.out, result)
        if mode == "squeezed":  # the first requests of an engine are slower; sharing ones have had theirs
            chance = random.Random(6)
            for model in ready:
                await send(session, Request(0.0, model, 256, 8), time.monotonic(), chance)
        switched = switches(fleet_status(options))
        say(f"{len(trace)} requests in {options.seconds:g} s")
        samples = await send_trace(session, trace)
    result["samples"] = [asdict(sample) for sample in samples]
    result["measured"] = summary(samples)
    write(options.out, result)
    result["status_after"] = fleet_status(options)
    result["measured"]["switches"] = switches(result["status_after"]) - switched
    result |= predictions(result, trace, speed)
    write(options.out, result)
    show(result)
    return 0 if result["measured"]["errors"] == 0 else 1


def mode_of(spec: FleetSpec) -> str:
    """Return what a fleet shows: models that sleep for each other, that stop for each other, or side by side."""
    groups = {model.share for model in spec.models if model.share}
    if not groups:
        return "squeezed"
    return "restart" if all(spec.sharing(group).sleep == "stop" for group in groups) else "shared"


def fleet_status(options: argparse.Namespace) -> dict[str, Any]:
    """Return what the running fleet says of itself."""
    argv = [sys.executable, "-m", "tritonfleet", "status", str(options.fleet), "--state", str(options.state), "--json"]
    data: dict[str, Any] = json.loads(subprocess.run(argv, check=True, stdout=subprocess.PIPE, timeout=60).stdout)
    return data


def switches(status: dict[str, Any]) -> int:
    """Return how often the device has changed hands so far."""
    return sum(group["switches"] for group in status.get("shares", ()))


def kv_tokens(fleet: Path, model: str) -> int:
    """Return the tokens that the plan gives *model*; many where nothing is known."""
    spec = load_spec(fleet)
    facts = gather_facts(spec, base=fleet.absolute().parent, cache=Path(), environ={}, lenient=True)
    found = plan(spec, facts, machine_here())
    return next(entry.kv_tokens for entry in found.replicas if entry.model == model) or 1_000_000


# --- requests ---------------------------------------------------------------------------------------------------


async def send_trace(session: aiohttp.ClientSession, trace: Sequence[Request]) -> list[Sample]:
    """Send each request at its time, whatever became of the others; return all samples in the trace's order."""
    chance = random.Random(5)
    start = time.monotonic() + 0.5
    return list(await asyncio.gather(*(send(session, request, start, chance) for request in trace)))


async def send(session: aiohttp.ClientSession, request: Request, start: float, chance: random.Random) -> Sample:
    """Send one request at its time and read its stream to the end."""
    sample = Sample(request.model, request.arrival_seconds, request.prompt_tokens, request.output_tokens)
    body = {
        "model": request.model,
        "prompt": [chance.randrange(3, VOCABULARY) for _ in range(request.prompt_tokens)],
        "max_tokens": request.output_tokens,
        "ignore_eos": True,
        "temperature": 0,
        "stream": True,
    }
    await asyncio.sleep(max(0.0, start + request.arrival_seconds - time.monotonic()))
    sent = time.monotonic()
    try:
        async with session.post("/v1/completions", json=body) as response:
            if response.status != 200:
                sample.error = f"{response.status}: {(await response.text())[:300]}"
                return sample
            async for line in response.content:
                if line.startswith(b"data: {"):
                    sample.ttft = sample.ttft or time.monotonic() - sent
                    sample.tokens += 1
                    if b'"error"' in line:
                        sample.error = line.decode(errors="replace")[:300]
    except (aiohttp.ClientError, TimeoutError) as err:
        sample.error = f"{type(err).__name__}: {err}"
    sample.end = time.monotonic() - start
    if not sample.error and not sample.tokens:
        sample.error = "no token"
    return sample


async def measure_speed(session: aiohttp.ClientSession, model: str, longest: int, tokens: int) -> Speed:
    """Return an engine's times as they are at the door: by prompt length, and by how many it answers at once."""
    chance = random.Random(3)

    async def batch(count: int, prompt: int, output: int) -> list[Sample]:
        request = Request(0.0, model, prompt, output)
        return await asyncio.gather(*(send(session, request, time.monotonic(), chance) for _ in range(count)))

    for prompt in (SHORT, longest):  # kernels are chosen and caches filled
        failed = [sample.error for sample in await batch(2, prompt, 8) if sample.error]
        if failed:
            raise SystemExit(f"{model}: {failed[0]}")
    points = []
    for count in BATCHES:
        samples = await batch(count, 32, 64)
        paces = [(s.end - s.ttft) / (s.output_tokens - 1) for s in samples if s.end and s.ttft and not s.error]
        points.append((count, max(1e-6, statistics.median(paces))))
    ttfts = {}
    for prompt in (SHORT, longest):
        singles = [(await batch(1, prompt, 1))[0].ttft or 0.0 for _ in range(7)]
        ttfts[prompt] = statistics.median(singles)
    slope = max(1e-7, (ttfts[longest] - ttfts[SHORT]) / (longest - SHORT))
    overhead = max(0.0, ttfts[SHORT] - points[0][1] - SHORT * slope)
    say(f"TPOT {[(count, round(pace * 1e3, 2)) for count, pace in points]} ms, TTFT {ttfts}")
    return Speed(tuple(points), 1 / slope, overhead, max_running=64, kv_tokens=tokens)


async def measure_switches(session: aiohttp.ClientSession, models: Sequence[str], base: float) -> list[float]:
    """Ask one model after the other, and return how much longer the first token took than that of an awake one."""
    chance = random.Random(4)
    times = []
    for index in range(3 * len(models)):
        await asyncio.sleep(1.0)  # the one that is awake has no work any more
        request = Request(0.0, models[(index + 1) % len(models)], SHORT, 1)
        sample = await send(session, request, time.monotonic(), chance)
        if sample.ttft is not None:
            times.append(max(0.0, sample.ttft - base))
    return times


# --- what the simulator says ------------------------------------------------------------------------------------


def predictions(result: dict[str, Any], trace: Sequence[Request], speed: Speed) -> dict[str, Any]:
    """Return the simulator's word on the same trace, and on what restarts instead of sleeps would have made of it."""
    models = result["models"]
    if result["mode"] == "squeezed":
        seats = [Seat(model, speed, "gpu") for model in models]
        return {"predicted": replay_summary(replay(trace, Scene(tuple(seats))))}
    cold, stop = cold_start(result), STOP_SECONDS
    if result["mode"] == "restart" and (count := switches(result["status_after"])):
        taken = sum(group["switch_seconds_sum"] for group in result["status_after"]["shares"]) / count
        stop = max(0.0, taken - cold)
    restarting = tuple(Seat(model, speed, "gpu", group="g", sleep_seconds=stop, wake_seconds=cold) for model in models)
    eager = Policy(min_residency_seconds=0.0, residency_per_switch=0.0, idle_seconds=0.0)
    restart = replay(trace, Scene(restarting, {"g": 1}, {"g": eager}, {"g": REQUEST_SECONDS}))
    if result["mode"] == "restart":
        return {"predicted": {**replay_summary(restart), "cold_start_seconds": cold}}
    switch = statistics.median(result["switch_seconds"] or [1.05])
    seats = [
        Seat(model, speed, "gpu", group="g", sleep_seconds=switch * SLEEP_PART, wake_seconds=switch * (1 - SLEEP_PART))
        for model in models
    ]
    scene = Scene(tuple(seats), {"g": 1}, wait_seconds={"g": REQUEST_SECONDS})
    return {
        "predicted": replay_summary(replay(trace, scene)),
        "restart_predicted": {**replay_summary(restart), "cold_start_seconds": cold},
    }


def cold_start(result: dict[str, Any]) -> float:
    """Return the median of the engines' starts in seconds."""
    starts = [
        replica["ready_seconds"]
        for model in result["status_before"]["models"]
        for replica in model["replicas"]
        if replica["ready_seconds"]
    ]
    return statistics.median(starts) if starts else 60.0


def summary(samples: Sequence[Sample]) -> dict[str, Any]:
    """Return errors and times to first token, of all and of each model."""
    good = [sample for sample in samples if not sample.error]
    by_model = {
        model: spread([s.ttft for s in good if s.model == model and s.ttft is not None])
        for model in dict.fromkeys(sample.model for sample in samples)
    }
    errors = [sample.error for sample in samples if sample.error]
    return {
        "requests": len(samples),
        "errors": len(errors),
        "first_errors": errors[:5],
        "short": sum(sample.tokens != sample.output_tokens for sample in good),
        "ttft": spread([sample.ttft for sample in good if sample.ttft is not None]),
        "by_model": by_model,
    }


def replay_summary(found: Replay) -> dict[str, Any]:
    """Return the same of a simulated trace."""
    good = [outcome for outcome in found.outcomes if outcome.ttft_seconds is not None]
    times = {
        model: spread([o.ttft_seconds for o in good if o.request.model == model and o.ttft_seconds is not None])
        for model in dict.fromkeys(outcome.request.model for outcome in found.outcomes)
    }
    return {
        "requests": len(found.outcomes),
        "errors": len(found.outcomes) - len(good),
        "ttft": spread([outcome.ttft_seconds for outcome in good if outcome.ttft_seconds is not None]),
        "by_model": times,
        "switches": len(found.switch_seconds),
    }


def spread(times: Sequence[float]) -> dict[str, float | None]:
    """Return median and 95th percentile in seconds."""
    if len(times) < 2:
        return {"p50": times[0] if times else None, "p95": times[0] if times else None}
    cuts = statistics.quantiles(times, n=20, method="inclusive")
    return {"p50": cuts[9], "p95": cuts[18]}


# --- words and pictures -----------------------------------------------------------------------------------------


def show(result: dict[str, Any]) -> None:
    """Print what was measured beside what was predicted."""
    for name in ("measured", "predicted", "restart_predicted"):
        if entry := result.get(name):
            times = entry["ttft"]
            seconds = f"TTFT p50 {num(times['p50'])} p95 {num(times['p95'])}"
            turns = f"  switches {entry['switches']}" if entry.get("switches") else ""
            say(f"{result['mode']:<10}{name:<18}errors {entry['errors']:>4}  {seconds}{turns}")
    if result.get("switch_seconds"):
        say(f"switch p50 {statistics.median(result['switch_seconds']):.2f} s")
    if (said := result["predicted"]["ttft"]["p95"]) and (saw := result["measured"]["ttft"]["p95"]):
        say(f"p95 predicted / measured: {said / saw - 1:+.1%}")
    for error in result["measured"]["first_errors"]:
        say(f"error: {error}")


def compare(results: Sequence[dict[str, Any]], png: Path | None) -> int:
    """Print all results, and draw the times to first token over the trace."""
    for result in results:
        show(result)
    if png is not None:
        try:
            from matplotlib.figure import Figure
        except ImportError:
            say("no picture: matplotlib is not installed here")
            return 0
        figure = Figure(figsize=(11, 3.2 * len(results)), layout="constrained")
        for axes, result in zip(figure.subplots(len(results), squeeze=False)[:, 0], results, strict=True):
            for model in result["models"]:
                points = [(s["arrival"], s["ttft"]) for s in result["samples"] if s["model"] == model and s["ttft"]]
                axes.scatter(*zip(*points, strict=True), s=9, label=model) if points else None
            axes.set(title=f"{result['mode']}, {result['gpu']}", xlabel="arrival, s", ylabel="time to first token, s")
            axes.set_yscale("log")
            axes.legend(frameon=False, ncols=4)
        figure.savefig(png, dpi=150)
    return 0


def num(value: float | None) -> str:
    """Return seconds for a person."""
    return "-" if value is None else f"{value:.3f} s"


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


def write(path: Path, result: dict[str, Any]) -> None:
    """Write the result so far."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def gpu_name() -> str:
    """Return the name of the first GPU."""
    gpus = machine_here().gpus
    return gpus[0].kind if gpus else "none"


if __name__ == "__main__":
    sys.exit(main())
