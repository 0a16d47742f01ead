"""The ceiling: one vLLM engine in this process, no server, fed so that a given number of requests always runs.

Needs vLLM and a free GPU, and nothing of tritonfleet. Writes after each number of streams, so a run that is cut short
leaves what it has.

    python scripts/gpu/offline.py --model DIR --prompts prompts.json --streams 1,64,256 --out offline.json
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def main() -> None:
    """Start the engine, measure each number of streams, write and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder of the model")
    parser.add_argument("--prompts", type=Path, required=True, help="JSON list of prompts")
    parser.add_argument("--streams", default="1,64,256", help="numbers of streams")
    parser.add_argument("--requests", type=int, default=4, help="requests of each stream")
    parser.add_argument("--output-tokens", type=int, default=128, help="tokens of an answer")
    parser.add_argument("--out", type=Path, required=True, help="JSON result")
    parser.add_argument("--engine-args", type=json.loads, default={}, help="further arguments of vllm.LLM, as JSON")
    options = parser.parse_args()
    import vllm

    arguments: dict[str, Any] = {
        "load_format": "dummy",
        "max_model_len": 2048,
        "enable_prefix_caching": False,
        "disable_log_stats": True,
        **options.engine_args,
    }
    llm = vllm.LLM(model=options.model, **arguments)
    prompts = json.loads(options.prompts.read_text())
    found: dict[str, float] = {}
    measure(llm, prompts[:8], 8, 8)  # the first batch compiles what is left to compile
    for streams in (int(text) for text in options.streams.split(",")):
        requests = streams * options.requests * (2 if streams == 1 else 1)
        chosen = [prompts[number % len(prompts)] for number in range(requests)]
        tokens, seconds = measure(llm, chosen, streams, options.output_tokens)
        found[str(streams)] = tokens / seconds
        print(f"offline, {streams} streams: {tokens / seconds:.0f} tokens/s", flush=True)
        about = {"vllm": vllm.__version__, "tokens_per_second": found}
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(about, indent=1) + "\n")


def measure(llm: Any, prompts: Sequence[str], streams: int, output_tokens: int) -> tuple[int, float]:
    """Keep *streams* of the requests running until all are done; return generated tokens and seconds."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    engine = llm.llm_engine
    sampling = SamplingParams(
        max_tokens=output_tokens, ignore_eos=True, temperature=0, output_kind=RequestOutputKind.FINAL_ONLY
    )
    waiting = iter(enumerate(prompts))
    stamp = time.monotonic_ns()
    tokens = 0

    def send_next() -> None:
        for number, prompt in waiting:
            engine.add_request(f"{stamp}-{number}", prompt, sampling)
            return

    started = time.perf_counter()
    for _ in range(streams):
        send_next()
    while engine.has_unfinished_requests():
        for output in engine.step():
            if output.finished:
                tokens += sum(len(choice.token_ids) for choice in output.outputs)
                send_next()
    return tokens, time.perf_counter() - started


if __name__ == "__main__":
    main()
