"""Does a real vLLM on a GPU sleep and wake as models that share it need? The checks of the tests, against the engine.

Two small models with random weights take turns on one GPU, at sleep levels 1 and 2, through the same code that `up`
uses. First the bare engine is asked for what is known to go wrong without it: a request while asleep, a sleep with
requests in flight. Writes OUT after each step; about 5 minutes on an H100. On a GPU host without network, where PREFIX
has vLLM under PREFIX/engine and the rest under PREFIX/client::

    PYTHONPATH=src:.:PREFIX/client:PREFIX/engine python scripts/gpu/sleep_conformance.py --out $OUT/sleep.json

``--eager`` leaves out CUDA graphs and compilation, and ``--no-kills`` the checks that wait for another start of an
engine; with both it takes about half the time. ``--fake`` tries the script with the fake engine, without a GPU.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.supervisor.sleep_conformance import CHECKS, Check
from tests.supervisor.sleep_rig import Rig, Setup, no_memory, share_rig

from tritonfleet.engines import Runtime, adapter
from tritonfleet.engines.base import Call
from tritonfleet.planner.result import SleepLevel
from tritonfleet.spec.models import Lifecycle, ModelSpec
from tritonfleet.spec.sharing import ShareSpec
from tritonfleet.supervisor.device_memory import DeviceMemory, NvmlMemory
from tritonfleet.supervisor.engine import Engine

GIB = 2**30
#: Of the GPU, for each engine; two of them do not fit at once.
MEMORY_SHARE = 0.6
#: Freed at the least by a sleep; the rest of the share is what the driver and graphs keep.
NEED_PART = 0.5
CHECK_SECONDS = 150.0
HANG_SECONDS = 5.0


def main() -> int:
    """Run all checks; return 1 if one failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("sleep.json"), help="JSON result")
    parser.add_argument("--levels", default="1,2", help="sleep levels")
    parser.add_argument("--seconds", type=float, default=540.0, help="time for everything")
    parser.add_argument("--gpu", type=int, default=0, help="index of the GPU to use")
    parser.add_argument("--eager", action="store_true", help="engines without CUDA graphs start sooner")
    parser.add_argument("--no-kills", action="store_true", help="only the checks in which no engine has to start again")
    parser.add_argument("--fake", action="store_true", help="use the fake engine")
    options = parser.parse_args()
    return asyncio.run(run(options))


async def run(options: argparse.Namespace) -> int:
    """Run all checks within the time, and write what there is after each."""
    engine = "fake" if options.fake else f"vllm {vllm_version()}"
    result: dict[str, Any] = {"engine": engine, "eager": options.eager, "checks": []}
    checks = [check for check in CHECKS if not (options.no_kills and "dies" in check.__name__)]
    deadline = time.monotonic() + options.seconds
    with tempfile.TemporaryDirectory(prefix="tf-") as folder:
        model = Path(folder) / "model"
        if not options.fake:
            await asyncio.to_thread(make_model, model)
        for level in (int(text) for text in options.levels.split(",")):
            setup = setup_of(
                Path(folder), model, 2 if level == 2 else 1, gpu=options.gpu, fake=options.fake, eager=options.eager
            )
            memory_of = no_memory if options.fake else nvml
            async with share_rig(setup, memory_of) as rig:
                began = time.monotonic()
                try:
                    await rig.start()
                except TimeoutError:
                    say(f"the group did not come up: {rig.phases()}")
                    for name, engine in rig.engines.items():
                        say(f"{name}: {engine.state}, {engine.reason or 'no reason'}")
                    for log in sorted(Path(folder).rglob("*.log")):
                        say(f"==> {log.name} <==\n{log.read_text(errors='replace')[-3000:]}")
                    return 1
                result[f"start_seconds_level_{level}"] = time.monotonic() - began
                for check in checks:
                    result["checks"].append(await outcome(rig, check, level, deadline))
                    write(options.out, result)
                result[f"switches_level_{level}"] = rig.group.status().switches
                result[f"switch_seconds_sum_level_{level}"] = rig.group.status().switch_seconds_sum
                if level == 1 and time.monotonic() < deadline:
                    result["without_leases"] = await bare_faults(rig)
                write(options.out, result)
    failed = [entry for entry in result["checks"] if entry["error"]]
    say(f"{len(result['checks']) - len(failed)} of {len(result['checks'])} checks passed")
    return 1 if failed else 0


def make_model(folder: Path) -> None:
    """Write a model of 0.3 B parameters with random weights: level 2 reads them again."""
    maker = Path(__file__).parents[1] / "bench_gpu.py"
    subprocess.run([sys.executable, str(maker), "--make-model", str(folder), "--size", "0.3b"], check=True)
    for empty in folder.glob("*.safetensors"):
        empty.unlink()
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    config = AutoConfig.from_pretrained(folder)
    AutoModelForCausalLM.from_config(config, torch_dtype=torch.bfloat16).save_pretrained(folder)


def setup_of(folder: Path, model: Path, level: SleepLevel, *, gpu: int, fake: bool, eager: bool) -> Setup:
    """Return two models that cannot be awake at once."""
    fakes: dict[str, Any] = {"tpot_ms": 5, "answer_tokens": 2000}
    arguments: dict[str, Any] = fakes if fake else {"max_num_seqs": 32, "enforce_eager": eager}
    models = tuple(
        ModelSpec(
            name=name,
            source=str(model),
            engine="fake" if fake else "vllm",
            share="g",
            max_model_len=2048,
            engine_args=arguments,
        )
        for name in ("a", "b")
    )
    return Setup(
        folder,
        models,
        {entry.name: model for entry in models},
        Runtime("fake" if fake else "vllm", "0" if fake else vllm_version(), Path(sys.executable), "given"),
        Lifecycle(start_seconds=240, stop_seconds=10, backoff_seconds=0.5),
        ShareSpec(min_residency_seconds=0.01, residency_per_switch=0, idle_seconds=0.01),
        level=level,
        gpus=() if fake else (gpu,),
        need_bytes=1 if fake else int(gpu_bytes() * MEMORY_SHARE * NEED_PART),
        memory_share=None if fake else MEMORY_SHARE,
    )


async def outcome(rig: Rig, check: Check, level: int, deadline: float) -> dict[str, Any]:
    """Run one check and return how it went."""
    name = f"{check.__name__}, level {level}"
    began = time.monotonic()
    error = ""
    try:
        async with asyncio.timeout(min(CHECK_SECONDS, max(0.0, deadline - began))):
            await check(rig)
            await rig.until(lambda: all(rig.group.serves(entry) for entry in rig.engines))
    except Exception as err:  # whatever it is, the other checks are of interest
        reasons = {entry: engine.reason for entry, engine in rig.engines.items() if engine.reason}
        error = f"{err!r}; phases {rig.phases()}; {reasons}"
    seconds = time.monotonic() - began
    say(f"{'FAILED' if error else 'passed'} {name} ({seconds:.1f} s) {error}")
    return {"check": check.__name__, "level": level, "error": error, "seconds": seconds}


async def bare_faults(rig: Rig) -> dict[str, str]:
    """Do to one engine what the leases keep from happening, and say what it made of it."""
    name = next(iter(rig.engines))
    found: dict[str, str] = {}
    async with rig.lease(name):
        engine = rig.engines[name]
        how = adapter("vllm")
        sleep = how.sleep(1)
        assert sleep is not None
        running = asyncio.create_task(rig.complete(name, tokens=1500))
        await asyncio.sleep(0.5)
        found["sleep with a request in flight"] = await told(engine, sleep)
        found["... the request"] = await fate(running)
        found["... the engine"] = await told(engine, how.health)
        asked = asyncio.create_task(rig.complete(name))
        found["a request while asleep"] = await fate(asked)
        found["a second sleep"] = await told(engine, sleep)
        for call in how.wake(1):
            found["wake"] = await told(engine, call)
        found["a request after the wake"] = await fate(asyncio.create_task(rig.complete(name)))
    for what, came in found.items():
        say(f"without leases: {what}: {came}")
    return found


async def fate(request: asyncio.Task[str]) -> str:
    """Return what became of a request within a few seconds."""
    done, _ = await asyncio.wait({request}, timeout=HANG_SECONDS)
    if not done:
        request.cancel()
        return f"no answer within {HANG_SECONDS:g} s"
    error = request.exception()
    return f"failed: {error!r}"[:300] if error else f"answered {len(request.result())} characters"


async def told(engine: Engine, call: Call) -> str:
    """Return the answer to a call."""
    began = time.monotonic()
    try:
        status, text = await engine.http.send(call, 60.0)
    except OSError as err:
        return f"no answer: {err!r}"
    return f"{status} after {time.monotonic() - began:.2f} s {text[:100]}".strip()


def nvml(_: Mapping[str, Engine]) -> DeviceMemory:
    """Return the reader of the real GPU."""
    return NvmlMemory()


def gpu_bytes() -> int:
    """Return the memory of the first GPU."""
    import pynvml

    pynvml.nvmlInit()
    return int(pynvml.nvmlDeviceGetMemoryInfo(pynvml.nvmlDeviceGetHandleByIndex(0)).total)


def vllm_version() -> str:
    """Return the version of the vLLM that is found."""
    from importlib.metadata import version

    return version("vllm")


def write(path: Path, result: Mapping[str, Any]) -> None:
    """Write the result as it is now."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")


def say(text: str) -> None:
    """Print at once."""
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
