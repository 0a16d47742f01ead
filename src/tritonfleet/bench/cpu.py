"""CPU time of groups of processes, children included."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import psutil


class CpuMeter:
    """Tells the CPU seconds that groups of processes used since the last look.

    A group is given by the ids of its roots. A process that ends between two looks takes its last share with it.
    """

    def __init__(self, groups: Mapping[str, Iterable[int]]) -> None:
        self._roots = {name: tuple(pids) for name, pids in groups.items()}
        self._before = self._look()

    def lap(self) -> dict[str, float]:
        """Return CPU seconds (user and system) of each group since the last lap."""
        now = self._look()
        used = {
            name: sum(seconds - self._before[name].get(pid, 0.0) for pid, seconds in processes.items())
            for name, processes in now.items()
        }
        self._before = now
        return used

    def _look(self) -> dict[str, dict[int, float]]:
        return {name: _trees(pids) for name, pids in self._roots.items()}


def _trees(roots: Iterable[int]) -> dict[int, float]:
    seconds: dict[int, float] = {}
    for root in roots:
        try:
            process = psutil.Process(root)
            members = [process, *process.children(recursive=True)]
        except psutil.NoSuchProcess:
            continue
        for member in members:
            try:
                times = member.cpu_times()
            except psutil.NoSuchProcess:
                continue
            seconds[member.pid] = times.user + times.system
    return seconds
