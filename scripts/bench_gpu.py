"""What the doors cost on a GPU: an engine asked directly, through Triton (gRPC, HTTP), the gateway, and offline.

Every door takes the same closed loop in alternating rounds, from load generators in several processes, until all
rounds are done or the time is up; the result file and the table always hold what was measured so far. The engines run
on dummy weights; --make-model makes the model (config of Llama-2-7B, or one of 0.3 B; a tokenizer of 32,000 entries
trained here). The fleet must be up: scripts/gpu/bench.sh does everything on a GPU host.

    python scripts/bench_gpu.py --make-model DIR --size 7b
    python scripts/bench_gpu.py --fleet fleet.yaml --state DIR --models llama --streams 1,64,256 --out FILE
    python scripts/bench_gpu.py --fleet fleet.yaml --state DIR --models plain,api4,two --streams 512 --out FILE

With several models the first one's engine is the base that all others are compared with.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tritonfleet.bench.compare import Goal, Row, Turn, rows
from tritonfleet.bench.cpu import CpuMeter
from tritonfleet.bench.crew import Closed, Crew, Failure, News, Work
from tritonfleet.bench.doors import Place, places
from tritonfleet.bench.prompts import Synthetic, words
from tritonfleet.bench.report import markdown, to_json
from tritonfleet.bench.stats import Sample
from tritonfleet.client.stats import significant
from tritonfleet.control_client import ControlClient
from tritonfleet.errors import FleetError, UsageError
from tritonfleet.layout import layout
from tritonfleet.spec import load_spec
from tritonfleet.wire import FleetStatus

PROMPT_WORDS = 200
VOCABULARY = 32_000
BASE = "engine"
TRITON_GRPC, TRITON_HTTP, GATEWAY = "triton-grpc", "triton-http", "gateway"
#: Llama-2-7B's own config.json, and a model so small that the servers and not the GPU are the limit.
CONFIGS: dict[str, dict[str, Any]] = {
    "7b": {
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
    },
    "0.3b": {
        "hidden_size": 1024,
        "intermediate_size": 2816,
        "num_hidden_layers": 16,
        "num_attention_heads": 16,
        "num_key_value_heads": 4,
    },
}
#: Tokens of a warm-up answer: it opens connections and shows a door that does not work.
WARM_TOKENS = 8
#: A turn at one stream is this many times longer, or it would hold too few requests.
LONGER_ALONE = 2


@dataclass(frozen=True)
class Plan:
    """What is measured."""

    streams: tuple[int, ...]
    rounds: int
    requests: int
    """Requests of each stream in a turn."""
    output_tokens: int
    deadline: float
    """No turn begins that would probably end after this moment of the monotonic clock."""


def main() -> int:
    """Make a model, or measure; return the exit code: 1 if a request failed."""
    options = parse_options()
    if options.make_model:
        make_model(options.make_model, options.size)
        return 0
    if options.make_prompts:
        prompts = [Synthetic(PROMPT_WORDS, seed=-1).text(number) for number in range(options.prompts)]
        options.make_prompts.write_text(json.dumps(prompts))
        return 0
    status = fleet_status(options.fleet, options.state)
    models = options.models.split(",")
    counts = tuple(int(text) for text in options.streams.split(","))
    plan = Plan(counts, options.rounds, options.requests, options.output_tokens, time.monotonic() + options.seconds)
    doors = doors_of(status, models, options.doors.split(","))
    with Crew(options.processes) as crew:
        meter = meter_of(status, models, crew.pids)
        bench = Bench(crew, meter, doors, plan, options)
        try:
            bench.run()
        except (FleetError, KeyboardInterrupt) as err:
            print(f"ended early: {str(err) or 'interrupted'}; what was measured so far:", flush=True)
            bench.failed = True
    bench.report()
    return 1 if bench.failed else 0


def parse_options() -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--make-model", type=Path, help="write a model without weights into this folder, and end")
    parser.add_argument("--size", choices=list(CONFIGS), default="7b", help="which model to write")
    parser.add_argument("--make-prompts", type=Path, help="write prompts for gpu/offline.py as JSON, and end")
    parser.add_argument("--prompts", type=int, default=1024, help="how many of them")
    parser.add_argument("--fleet", type=Path, help="fleet.yaml of the running fleet")
    parser.add_argument("--state", type=Path, help="its state folder")
    parser.add_argument("--models", default="llama", help="models to ask; the first one's engine is the base")
    parser.add_argument("--doors", default="triton-grpc,triton-http,gateway", help="doors beside the engine itself")
    parser.add_argument("--streams", default="1,64,256", help="numbers of streams")
    parser.add_argument("--rounds", type=int, default=2, help="rounds for each number of streams")
    parser.add_argument("--requests", type=int, default=4, help="requests of each stream in a round")
    parser.add_argument("--output-tokens", type=int, default=128, help="tokens of an answer")
    parser.add_argument("--processes", type=int, default=min(8, os.cpu_count() or 1), help="load generators")
    parser.add_argument("--seconds", type=float, default=600.0, help="time for everything")
    parser.add_argument("--offline", type=Path, help="result of gpu/offline.py, to be put into the table")
    parser.add_argument("--ratio-goal", type=float, default=1.0, help="tokens/s of the engine's to be reached")
    parser.add_argument("--out", type=Path, default=Path("bench-results/gpu.json"), help="JSON result")
    return parser.parse_args()


def make_model(folder: Path, size: str) -> None:
    """Write config, tokenizer and an empty weights file: the engine fills in dummy weights."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<unk>", "<s>", "</s>"]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    chance = random.Random(7)
    tokenizer.train_from_iterator((" ".join(words(chance, 200)) for _ in range(1_500)), trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
        "torch_dtype": "bfloat16",
        "vocab_size": VOCABULARY,
        "bos_token_id": 1,
        "eos_token_id": 2,
        **CONFIGS[size],
    }
    (folder / "config.json").write_text(json.dumps(config))
    names = {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(names))
    (folder / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")


def fleet_status(fleet: Path, state: Path) -> FleetStatus:
    """Ask the running fleet."""
    name = load_spec(fleet).name
    return ControlClient(layout(name, dict(os.environ), os.getuid(), state).control_socket, name).status()


def doors_of(status: FleetStatus, models: Sequence[str], wanted: Sequence[str]) -> list[Place]:
    """Return every model's engine and its *wanted* doors, with the names that stand in the table."""
    found = []
    for model in models:
        try:
            there = places(status, model)
        except UsageError as err:
            if model == models[0]:
                raise
            print(f"left out: {err}", flush=True)
            continue
        mine = {
            BASE: there["engine"],
            TRITON_GRPC: there["kserve-grpc"],
            TRITON_HTTP: there["kserve-http"],
            GATEWAY: there["openai"],
        }
        for name in (BASE, *wanted):
            place = mine[name]
            title = name if model == models[0] else f"{name} [{model}]"
            found.append(Place(title, place.door, place.where, place.model))
    return found


def meter_of(status: FleetStatus, models: Sequence[str], client: Sequence[int]) -> CpuMeter:
    """Return a meter of the processes that serve *models*, and of those that ask them."""
    engines = [
        replica.pid
        for entry in status.models
        if entry.model in models
        for replica in entry.replicas
        if replica.pid is not None
    ]
    groups: dict[str, Sequence[int | None]] = {
        "engine": engines,
        "triton": [status.triton_pid],
        "gateway": [status.gateway_pid],
        "client": client,
    }
    return CpuMeter({name: [pid for pid in pids if pid is not None] for name, pids in groups.items()})


class Bench:
    """The rounds, and what came of them."""

    def __init__(
        self, crew: Crew, meter: CpuMeter, doors: Sequence[Place], plan: Plan, options: argparse.Namespace
    ) -> None:
        self._crew = crew
        self._meter = meter
        self._doors = doors
        self._plan = plan
        self._options = options
        self._took: dict[tuple[str, int], float] = {}
        self.turns: list[Turn] = []
        self.failed = False

    def run(self) -> None:
        """Take all turns for which there is time."""
        for streams in self._plan.streams:
            for place in self._doors:
                self._take(place, streams, -1, WARM_TOKENS)
            for number in range(self._plan.rounds):
                # The base is first, so that what is measured in a round can be compared.
                base, *others = self._doors
                for place in (base, *(others if number % 2 == 0 else others[::-1])):
                    self._turn(place, streams, number)

    def _turn(self, place: Place, streams: int, number: int) -> None:
        expected = self._took.get((place.name, streams), 0.0)
        if time.monotonic() + expected > self._plan.deadline:
            print(f"{streams} streams, round {number + 1}, {place.name}: left out, the time is up", flush=True)
            return
        started = time.monotonic()
        turn = self._take(place, streams, number, self._plan.output_tokens)
        self._took[place.name, streams] = time.monotonic() - started
        if turn is None:
            return
        self.turns.append(turn)
        tokens = sum(sample.output_tokens for sample in turn.samples)
        print(f"{streams} streams, round {number + 1}, {place.name}: {tokens / turn.seconds:.0f} tokens/s", flush=True)
        self._write()

    def _take(self, place: Place, streams: int, number: int, output_tokens: int) -> Turn | None:
        """Return the turn; None if every request of it failed."""
        warm = number < 0
        requests = streams * (1 if warm else self._plan.requests * (LONGER_ALONE if streams == 1 else 1))
        sampling = {"max_tokens": output_tokens, "ignore_eos": True, "temperature": 0}
        results: list[Sample | Failure] = []

        def on_news(news: News) -> None:
            results.extend(news)

        self._meter.lap()
        seconds = self._crew.run(
            Work(place, Synthetic(PROMPT_WORDS), sampling, timeout_seconds=120.0), Closed(streams, requests), on_news
        )
        cpu = self._meter.lap()
        failures = [result for result in results if isinstance(result, Failure)]
        if failures:
            self.failed = True
            print(f"{place.name}: {len(failures)} of {requests} requests failed: {failures[0].message}", flush=True)
        samples = tuple(result for result in results if isinstance(result, Sample))
        return Turn(number, place.name, streams, samples, seconds, cpu) if samples else None

    def _found(self) -> list[Row]:
        return rows(sorted(self.turns, key=lambda turn: turn.streams), BASE)

    def _goals(self) -> list[Goal]:
        offline = offline_goals(self._found(), self._options.offline)
        return [*gpu_goals(self._found(), self._options.ratio_goal), *offline]

    def _write(self) -> None:
        self._options.out.parent.mkdir(parents=True, exist_ok=True)
        data = to_json(self._found(), self._goals(), self.turns, self._about())
        self._options.out.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")

    def _about(self) -> dict[str, Any]:
        options = self._options
        return {
            "gpu": gpu_name(),
            "cores": len(os.sched_getaffinity(0)),
            "model": options.models,
            "rounds": options.rounds,
            "requests_per_stream": options.requests,
            "output_tokens": options.output_tokens,
            "processes": options.processes,
        }

    def report(self) -> None:
        """Print the table and the goals."""
        if not self.turns:
            print("nothing was measured")
            return
        print(
            markdown(self._found(), self._goals(), ", ".join(f"{key} {value}" for key, value in self._about().items()))
        )
        print(f"everything measured: {self._options.out}")


def gpu_goals(found: Sequence[Row], ratio: float) -> Iterator[Goal]:
    """Yield what each door reaches of the goals for a GPU."""
    base = {row.streams: row.summary for row in found if row.door == BASE}
    for row in found:
        if row.ratio is None or row.ttft_more is None or row.streams not in base:
            continue
        name, direct = f"{row.door}, {row.streams} streams", base[row.streams]
        if row.streams > 1:
            text = f"{name}: {row.ratio.value:.3f} of the engine's tokens/s (goal >= {ratio})"
            yield Goal(text, row.ratio.value >= ratio)
        if row.streams == 256:
            share = row.summary.ttft_p50 / direct.ttft_p50
            yield Goal(f"{name}: {share:.3f} of the engine's TTFT p50 (goal <= 1.0)", share <= 1.0)
        if row.streams == 1:
            more = row.ttft_more.value * 1e3
            yield Goal(f"{name}: TTFT p50 {more:+.2f} ms (goal <= +1.5 ms)", more <= 1.5)
            if row.summary.tpot_p50 is not None and direct.tpot_p50 is not None:
                slower = (row.summary.tpot_p50 - direct.tpot_p50) * 1e3
                yield Goal(f"{name}: TPOT p50 {slower:+.3f} ms (goal <= +0.05 ms)", slower <= 0.05)


def offline_goals(found: Sequence[Row], path: Path | None) -> Iterator[Goal]:
    """Yield what each door reaches of the engine without a server, from the result of gpu/offline.py."""
    if path is None or not path.exists():
        return
    ceiling: Mapping[str, float] = json.loads(path.read_text())["tokens_per_second"]
    for row in found:
        if top := ceiling.get(str(row.streams)):
            reached = row.summary.tokens_per_second / top
            text = f"{row.door}, {row.streams} streams: {reached:.3f} of the {significant(top)} tokens/s offline"
            yield Goal(f"{text} (no goal)", True)


def gpu_name() -> str:
    """Return the name of the first GPU."""
    import pynvml

    try:
        pynvml.nvmlInit()
        return str(pynvml.nvmlDeviceGetName(pynvml.nvmlDeviceGetHandleByIndex(0)))
    except pynvml.NVMLError:
        return "none"


if __name__ == "__main__":
    sys.exit(main())
