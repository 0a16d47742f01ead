"""CPU time of groups of processes, children included, and of everything else on the machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import psutil

#: Name of the group of all processes that are in no other group.
OTHERS = "others"


class CpuMeter:
    """Tells the CPU seconds that groups of processes used since the last look.

    A group is given by the ids of its roots; a process belongs to the first group whose tree it is in. A process that
    ends between two looks takes its last share with it, into ``others``.
    """

    def __init__(self, groups: Mapping[str, Iterable[int]]) -> None:
        self._roots = {name: tuple(pids) for name, pids in groups.items()}
        self._before = self._look()
        self._machine_before = _machine_seconds()

    def lap(self) -> dict[str, float]:
        """Return CPU seconds (user and system) of each group since the last lap; the last group is ``others``."""
        now, machine = self._look(), _machine_seconds()
        used = {
            name: sum(seconds - self._before[name].get(pid, 0.0) for pid, seconds in processes.items())
            for name, processes in now.items()
        }
        # The two clocks tick apart, so a quiet machine can come out a tick below zero.
        used[OTHERS] = max(0.0, machine - self._machine_before - sum(used.values()))
        self._before, self._machine_before = now, machine
        return used

    def _look(self) -> dict[str, dict[int, float]]:
        seen: set[int] = set()
        found = {}
        for name, pids in self._roots.items():
            found[name] = {pid: seconds for pid, seconds in _trees(pids).items() if pid not in seen}
            seen.update(found[name])
        return found


def _machine_seconds() -> float:
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq + times.steal)


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
