"""CPU time of process groups."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tritonfleet.bench.cpu import OTHERS, CpuMeter

#: A parent that waits while its child, on demand, computes for 0.3 s of CPU time, then until its input closes.
BUSY_CHILD = """
import subprocess, sys
child = '''
import sys, time
print("ready", flush=True)
sys.stdin.readline()
end = time.process_time() + 0.3
while time.process_time() < end:
    pass
print("done", flush=True)
sys.stdin.read()
'''
subprocess.run([sys.executable, "-c", child], stdin=sys.stdin, check=False)
"""


class Busy:
    """A running pair of parent and child."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.pid = process.pid
        self._expect("ready")

    def work(self) -> None:
        """Let the child compute, and wait until it has."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        self._expect("done")

    def _expect(self, word: str) -> None:
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == f"{word}\n"


@pytest.fixture
def busy() -> Iterator[Busy]:
    """A parent with a child that computes when told to."""
    argv = [sys.executable, "-c", BUSY_CHILD]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Busy(process)
        process.communicate()


def test_children_count(busy: Busy) -> None:
    """A group's time is that of its processes and their children, since the last lap."""
    meter = CpuMeter({"busy": [busy.pid], "gone": [2**22 + 1]})
    busy.work()
    first, second = meter.lap(), meter.lap()
    assert first["busy"] == pytest.approx(0.3, abs=0.1)
    assert second["busy"] < 0.1
    assert first["gone"] == 0


def test_a_process_counts_once(busy: Busy) -> None:
    """The tree of the first group is no part of a later one that holds it."""
    meter = CpuMeter({"busy": [busy.pid], "all": [os.getpid()]})
    busy.work()
    used = meter.lap()
    assert used["busy"] >= 0.25
    assert used["all"] < 0.1


def test_others(busy: Busy) -> None:
    """What no group holds is booked as other programs' work."""
    meter = CpuMeter({"none": [2**22 + 1]})
    busy.work()
    assert meter.lap()[OTHERS] >= 0.25
