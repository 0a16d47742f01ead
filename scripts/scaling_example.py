"""Make the example of docs/scaling.md: four hours of a busy model, replayed against the scaling rule.

    python scripts/scaling_example.py FOLDER

Writes fleet.yaml, trace.jsonl and times.json there, runs `tritonfleet plan --simulate-scaling` on them, which prints
the table and draws scaling-simulation.png. The speed is that of Llama-2-7B's shape on an H100 (docs/performance.md);
the demo model stands in for its place on the machine. The load swells from 3 to 47 requests a second and back, with a
step to 150 for twenty minutes.
"""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
from pathlib import Path

from tritonfleet.simulate.trace import Request, trace_text

FLEET = """\
name: shop
models:
- name: chat
  source: demo://llama2
  scaling: {min_replicas: 1, max_replicas: 8, concurrency: 64, ttft_goal_seconds: 1}
"""
TIMES = {
    "chat": {
        "tpot_seconds": [[1, 0.00609], [64, 0.0122], [256, 0.0381]],
        "prefill_tokens_per_second": 28000,
        "overhead_seconds": 0.01,
        "max_running": 256,
        "kv_tokens": 120000,
    }
}
HOURS = 4
STEP_SECONDS = (7000, 8200)
STEP_RATE = 150.0


def rate(seconds: float) -> float:
    """Return the requests a second at a moment."""
    if STEP_SECONDS[0] < seconds < STEP_SECONDS[1]:
        return STEP_RATE
    return 25 - 22 * math.cos(2 * math.pi * seconds / (HOURS * 3600))


def make_trace(seed: int) -> list[Request]:
    """Return Poisson arrivals at that rate (by thinning), with prompts of 100 to 400 tokens and 60 to 260 to answer."""
    chance, found, at = random.Random(seed), [], 0.0
    while at < HOURS * 3600:
        at += chance.expovariate(STEP_RATE)
        if chance.random() < rate(at) / STEP_RATE:
            found.append(Request(round(at, 3), "chat", chance.randint(100, 400), chance.randint(60, 260)))
    return found


def main() -> int:
    """Write the files and run the command."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "fleet.yaml").write_text(FLEET)
    (folder / "times.json").write_text(json.dumps(TIMES))
    (folder / "trace.jsonl").write_text(trace_text(make_trace(seed=1)))
    argv = [sys.executable, "-m", "tritonfleet", "plan", str(folder / "fleet.yaml"), "--instance", "p5.48xlarge"]
    argv += ["--simulate-scaling", str(folder / "trace.jsonl"), "--times", str(folder / "times.json")]
    return subprocess.run([*argv, "--png", str(folder / "scaling-simulation.png")], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
