"""CPU time of process groups."""

from __future__ import annotations

import subprocess
import sys

from tritonfleet.bench.cpu import CpuMeter

#: A parent that waits while its child computes for 0.3 s of CPU time, then until its input closes.
BUSY_CHILD = """
import subprocess, sys
child = "import time, sys\\nwhile time.process_time() < 0.3: pass\\nprint(1, flush=True)\\nsys.stdin.read()"
process = subprocess.Popen([sys.executable, "-c", child], stdin=sys.stdin)
process.wait()
"""


def test_children_count() -> None:
    """A group's time is that of its processes and their children, since the last lap."""
    with subprocess.Popen(
        [sys.executable, "-c", BUSY_CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        meter = CpuMeter({"busy": [process.pid], "gone": [2**22 + 1]})
        assert process.stdout.readline() == "1\n"
        first = meter.lap()
        second = meter.lap()
        process.communicate()
    assert first["busy"] >= 0.25
    assert second["busy"] < 0.1
    assert first["gone"] == 0
