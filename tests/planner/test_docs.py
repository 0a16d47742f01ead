"""docs/planning.md says what the command and the code do."""

from __future__ import annotations

import re
from pathlib import Path

from typer.testing import CliRunner

from tritonfleet.cli.app import app
from tritonfleet.planner import machine_of_gpus, machine_of_instance
from tritonfleet.planner.memory import CONTEXT_BYTES, CUDA_BYTES, CUDA_BYTES_PARALLEL, DEFAULT_UTILIZATION, MIB
from tritonfleet.planner.sleeping import HOST_RESERVE_BYTES
from tritonfleet.planner.timing import COLD_START_SECONDS, CPU_START_SECONDS, DISK_BYTES_PER_SECOND
from tritonfleet.spec import parse_spec

TEXT = (Path(__file__).parents[2] / "docs/planning.md").read_text(encoding="utf-8")


def test_every_option_is_explained() -> None:
    """And none is that is not there; --ignore-plan is one of `up`."""
    shown = CliRunner().invoke(app, ["plan", "--help"], terminal_width=200, color=False).stdout
    options = set(re.findall(r"--[a-z][a-z-]+", re.sub(r"\x1b\[[0-9;]*m", "", shown))) - {"--help"}
    explained = set(re.findall(r"--[a-z][a-z-]+", TEXT))
    assert options <= explained
    assert explained - options <= {"--ignore-plan", "--simulate-scaling", "--start-minutes"}


def test_the_examples_work() -> None:
    """GPUs, an instance type, and the fleet with a share group."""
    for text in ("h200:1", "l4:2,h100:1"):
        assert text in TEXT
        assert machine_of_gpus(text).gpus
    assert machine_of_instance("g5.24xlarge").gpus
    match = re.search(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    assert match
    assert [model.share for model in parse_spec(match[1]).models] == ["night"] * 3


def test_the_numbers_are_those_of_the_code() -> None:
    """Change both."""
    for words in (
        f"{DEFAULT_UTILIZATION:g} of the GPU",
        f"context ({CONTEXT_BYTES // MIB} MiB)",
        f"({CUDA_BYTES // MIB} MiB, {CUDA_BYTES_PARALLEL // MIB // 1024} GiB with several GPUs)",
        f"{HOST_RESERVE_BYTES // MIB // 1024} GiB of host memory",
        f"Cold start** is {COLD_START_SECONDS:.0f} s",
        f"On the CPU it is {CPU_START_SECONDS:.0f} s",
        f"reading at {DISK_BYTES_PER_SECOND / 1e9:.0f} GB/s",
    ):
        assert words in TEXT, words
