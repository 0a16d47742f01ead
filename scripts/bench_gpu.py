"""What the doors cost on a GPU: one engine asked directly, through Triton (gRPC, HTTP) and through the gateway.

Every door takes the same closed loop in alternating rounds, from load generators in several processes. The engine
runs on dummy weights; the model is made by --make-model (config of Llama-2-7B, or one of 0.3 B; a tokenizer of
32,000 entries trained here). The fleet must be up; see scripts/gpu/bench.sh, which does everything on a GPU host.

    python scripts/bench_gpu.py --make-model DIR --size 7b
    python scripts/bench_gpu.py --fleet fleet.yaml --state DIR --model-name llama --streams 1,64,256 --out FILE
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tritonfleet.bench.compare import Turn, rows, turn_order
from tritonfleet.bench.cpu import CpuMeter
from tritonfleet.bench.engine_door import EngineDoor
from tritonfleet.bench.load import closed_loop
from tritonfleet.bench.report import markdown, to_json
from tritonfleet.bench.stats import Sample
from tritonfleet.bench.target import StreamDoor, Target
from tritonfleet.client import ModelInfo, parse_address
from tritonfleet.client.grpc_door import GrpcDoor
from tritonfleet.client.http_door import HttpDoor
from tritonfleet.wire import Endpoint, FleetStatus, load

PROMPT_WORDS = 200
OUTPUT_TOKENS = 128
VOCABULARY = 32_000
BASE = "engine"
#: Llama-2-7B's own config.json, and a model so small that the servers and not the GPU are the limit.
CONFIGS: dict[str, dict[str, Any]] = {
    "7b": {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32},
    "0.3b": {"hidden_size": 1024, "intermediate_size": 2816, "num_hidden_layers": 16, "num_attention_heads": 16},
}


@dataclass(frozen=True)
class Address:
    """A door that a worker can open."""

    name: str
    kind: str
    """``openai``, ``grpc`` or ``http``."""
    where: str
    model: str


@dataclass(frozen=True)
class Order:
    """One worker's share of a turn."""

    address: Address
    prompts: tuple[str, ...]
    streams: int
    start_at: float
    """Monotonic clock, which all processes of a machine share."""


def main() -> int:
    """Make a model, or measure; return the exit code."""
    options = parse_options()
    if options.make_model:
        make_model(options.make_model, options.size)
        return 0
    status = fleet_status(options)
    addresses = addresses_of(status, options.model_name)
    counts = [int(text) for text in options.streams.split(",")]
    turns = measure(addresses, meter_of(status, options.model_name), counts, options)
    found = rows(turns, BASE)
    about = {"gpu": gpu_name(), "model": options.model_name, "rounds": options.rounds, "processes": options.processes}
    options.out.write_text(json.dumps(to_json(found, [], turns, about), indent=1) + "\n", encoding="utf-8")
    print(markdown(found, [], f"{about}"))
    return 0


def parse_options() -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--make-model", type=Path, help="write a model without weights into this folder, and end")
    parser.add_argument("--size", choices=list(CONFIGS), default="7b", help="which model to write")
    parser.add_argument("--fleet", type=Path, help="fleet.yaml of the running fleet")
    parser.add_argument("--state", type=Path, help="its state folder")
    parser.add_argument("--model-name", default="llama", help="model to ask")
    parser.add_argument("--streams", default="1,64,256", help="numbers of streams")
    parser.add_argument("--rounds", type=int, default=2, help="rounds for each number of streams")
    parser.add_argument("--requests", type=int, default=2, help="requests of each stream in a round")
    parser.add_argument("--processes", type=int, default=8, help="load generators")
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
    tokenizer.train_from_iterator((" ".join(words(chance, 200)) for _ in range(20_000)), trainer)
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
        "num_key_value_heads": CONFIGS[size]["num_attention_heads"],
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


def words(chance: random.Random, count: int) -> list[str]:
    """Return pseudo-words of two to four syllables."""
    syllables = [consonant + vowel for consonant in "bcdfghjklmnprstvwz" for vowel in ("a", "e", "i", "o", "u", "ai")]
    return ["".join(chance.choices(syllables, k=chance.choice((2, 3, 3, 4)))) for _ in range(count)]


def fleet_status(options: argparse.Namespace) -> FleetStatus:
    """Ask the running fleet."""
    argv = [sys.executable, "-m", "tritonfleet", "status", str(options.fleet), "--state", str(options.state), "--json"]
    return load(FleetStatus, json.loads(subprocess.run(argv, check=True, stdout=subprocess.PIPE).stdout))


def addresses_of(status: FleetStatus, model: str) -> list[Address]:
    """Return every door to *model*, the engine itself first."""
    replica = next(entry for entry in status.models if entry.model == model).replicas[0]
    return [
        Address(BASE, "openai", replica.endpoint, model),
        Address("triton-grpc", "grpc", status.doors["grpc"], model),
        Address("triton-http", "http", status.doors["http"], model),
        Address("gateway", "openai", status.doors["openai"], model),
    ]


def meter_of(status: FleetStatus, model: str) -> CpuMeter:
    """Return a meter of the processes that serve *model*."""
    replica = next(entry for entry in status.models if entry.model == model).replicas[0]
    groups = {"engine": replica.pid, "triton": status.triton_pid, "gateway": status.gateway_pid}
    return CpuMeter({name: [pid] for name, pid in groups.items() if pid is not None})


def measure(
    addresses: Sequence[Address], meter: CpuMeter, counts: Sequence[int], options: argparse.Namespace
) -> list[Turn]:
    """Run all rounds and return the turns; a line for each shows how far it is."""
    context = multiprocessing.get_context("spawn")
    pipes: list[Connection] = []
    workers = []
    for _ in range(options.processes):
        mine, theirs = context.Pipe()
        worker = context.Process(target=work, args=(theirs,), daemon=True)
        worker.start()
        pipes.append(mine)
        workers.append(worker)
    chance = random.Random(1)
    by_name = {address.name: address for address in addresses}
    turns = []
    for streams in counts:
        for address in addresses:
            take_turn(address, pipes, meter, chance, streams, 1, -1)
        for number in range(options.rounds):
            for name in turn_order(list(by_name), number):
                requests = options.requests * (4 if streams == 1 else 1)
                turn = take_turn(by_name[name], pipes, meter, chance, streams, requests, number)
                tokens = sum(sample.output_tokens for sample in turn.samples)
                print(
                    f"{streams} streams, round {number + 1}, {name}: {tokens / turn.seconds:.0f} tokens/s", flush=True
                )
                turns.append(turn)
    for pipe in pipes:
        pipe.send(None)
    for worker in workers:
        worker.join(timeout=10)
    return turns


def take_turn(
    address: Address,
    pipes: Sequence[Connection],
    meter: CpuMeter,
    chance: random.Random,
    streams: int,
    requests: int,
    number: int,
) -> Turn:
    """Let every worker send its share at the same moment; return all samples and the wall time."""
    shares = [streams // len(pipes) + (1 if place < streams % len(pipes) else 0) for place in range(len(pipes))]
    busy = [(pipe, share) for pipe, share in zip(pipes, shares, strict=True) if share]
    prompts = [[" ".join(words(chance, PROMPT_WORDS)) for _ in range(share * requests)] for _, share in busy]
    start_at = time.monotonic() + 0.5
    meter.lap()
    for (pipe, share), texts in zip(busy, prompts, strict=True):
        pipe.send(Order(address, tuple(texts), share, start_at))
    samples: list[Sample] = []
    ends = []
    for pipe, _ in busy:
        outcome = pipe.recv()
        if isinstance(outcome, str):
            raise SystemExit(f"{address.name}: {outcome}")
        mine, end = outcome
        samples += mine
        ends.append(end)
    return Turn(number, address.name, streams, tuple(samples), max(ends) - start_at, meter.lap())


def work(pipe: Connection) -> None:
    """A load generator: one loop that does what it is told, doors kept open between turns."""
    asyncio.run(_work(pipe))


async def _work(pipe: Connection) -> None:
    doors: dict[Address, StreamDoor] = {}
    loop = asyncio.get_running_loop()
    while (order := await loop.run_in_executor(None, receive, pipe)) is not None:
        try:
            address: Address = order.address
            if address not in doors:
                doors[address] = open_door(address)
            target = Target(address.name, doors[address], info_of(address))
            outcome: Any = await _share(target, order)
        except* Exception as group:
            outcome = "; ".join(sorted({f"{type(err).__name__}: {err}" for err in leaves(group)}))
        pipe.send(outcome)
    for door in doors.values():
        await door.close()


def receive(pipe: Connection) -> Order | None:
    """Return the next order; None when there is none to come."""
    try:
        order: Order | None = pipe.recv()
    except EOFError:
        return None
    return order


def leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    """Return the single exceptions in *group*."""
    found: list[BaseException] = []
    for err in group.exceptions:
        found += leaves(err) if isinstance(err, BaseExceptionGroup) else [err]
    return found


async def _share(target: Target, order: Order) -> tuple[list[Sample], float]:
    sampling = {"max_tokens": OUTPUT_TOKENS, "ignore_eos": True, "temperature": 0}

    async def send(request: int) -> Sample:
        return await target.sample(order.prompts[request], sampling, timeout_seconds=120.0)

    await asyncio.sleep(max(0.0, order.start_at - time.monotonic()))
    samples, _ = await closed_loop(send, streams=order.streams, requests=len(order.prompts))
    return samples, time.monotonic()


def open_door(address: Address) -> StreamDoor:
    """Open a connection to a door."""
    if address.kind == "openai":
        if address.where.startswith("unix:"):
            return EngineDoor(Endpoint(uds=address.where.removeprefix("unix:")))
        host, _, port = address.where.rpartition(":")
        return EngineDoor(Endpoint(host=host, port=int(port)))
    if address.kind == "grpc":
        return GrpcDoor(parse_address(address.where, "grpc"))
    return HttpDoor(parse_address(address.where, "http"))


def info_of(address: Address) -> ModelInfo:
    """Return what the doors need to know of the model."""
    inputs = {
        "text_input",
        "stream",
        "sampling_parameters",
        "exclude_input_in_output",
        "return_num_input_tokens",
        "return_num_output_tokens",
        "return_finish_reason",
    }
    return ModelInfo(address.model, frozenset(inputs), {})


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
