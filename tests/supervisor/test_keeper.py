"""Nothing outlives the supervisor: real processes, real signals."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tritonfleet.supervisor.process import Program, Spawner, describe_status

#: A program with a child that detaches itself, as vLLM's engine core survives a killed API server.
FAMILY = """
import os, signal, sys, time
if os.fork() == 0:
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    open(sys.argv[1] + "/grandchild", "w").write(str(os.getpid()))
    signal.pause()
if "stubborn" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
while not os.path.exists(sys.argv[1] + "/grandchild") or not open(sys.argv[1] + "/grandchild").read():
    time.sleep(0.01)
print("up", flush=True)
signal.pause()
"""

#: A supervisor that starts a family under a keeper and then waits to be killed.
SUPERVISOR = """
import asyncio, os, sys
from pathlib import Path
from tritonfleet.supervisor.process import Spawner

async def main():
    folder = Path(sys.argv[1])
    spawner = Spawner("mark-" + folder.name, dict(os.environ))
    (folder / "sockets").mkdir()
    await spawner.start_janitor(unlink=[folder / "sockets"], shm=[])
    program = await spawner.start("family", [sys.executable, "-c", sys.argv[2], str(folder)], env={},
                                  log_path=folder / "log", grace_seconds=30.0, unlink=[folder / "socket"])
    (folder / "socket").touch()
    while b"up" not in (folder / "log").read_bytes():
        await asyncio.sleep(0.01)
    print(program.keeper_pid, program.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def gone(pid: int, seconds: float = 10.0) -> bool:
    """Wait until *pid* has ended."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], seconds)[0])
    finally:
        os.close(handle)


def grandchild(folder: Path) -> int:
    return int((folder / "grandchild").read_text())


@pytest.fixture
async def spawner(tmp_path: Path) -> Spawner:
    return Spawner(f"mark-{tmp_path.name}", dict(os.environ))


async def start(spawner: Spawner, folder: Path, *words: str, grace: float = 5.0) -> Program:
    program = await spawner.start(
        "family",
        [sys.executable, "-c", FAMILY, str(folder), *words],
        env={},
        log_path=folder / "log",
        grace_seconds=grace,
        unlink=[folder / "socket"],
    )
    (folder / "socket").touch()
    async with asyncio.timeout(20):
        while "up" not in program.last_lines():  # noqa: ASYNC110 - a log file has no event
            await asyncio.sleep(0.01)
    return program


async def test_children_that_compute_give_way(spawner: Spawner, tmp_path: Path) -> None:
    program = await start(spawner, tmp_path)
    own = os.getpriority(os.PRIO_PROCESS, 0)
    assert program.pid is not None
    program.let_servers_first()
    assert os.getpriority(os.PRIO_PROCESS, program.pid) == own
    assert os.getpriority(os.PRIO_PROCESS, grandchild(tmp_path)) == 10
    await program.stop(5.0)
    program.let_servers_first()  # nobody is left


async def test_a_killed_program_takes_its_detached_child_along(spawner: Spawner, tmp_path: Path) -> None:
    program = await start(spawner, tmp_path)
    assert program.pid is not None
    os.kill(program.pid, signal.SIGKILL)
    assert await program.wait() == 128 + signal.SIGKILL
    assert gone(grandchild(tmp_path))
    assert not (tmp_path / "socket").exists()
    spawner.close()


async def test_stop_is_polite_first(spawner: Spawner, tmp_path: Path) -> None:
    program = await start(spawner, tmp_path)
    assert await program.stop(5.0) == 128 + signal.SIGTERM
    assert gone(grandchild(tmp_path))
    spawner.close()


async def test_a_stubborn_program_is_killed_at_the_deadline(spawner: Spawner, tmp_path: Path) -> None:
    program = await start(spawner, tmp_path, "stubborn", grace=60.0)
    assert await program.stop(0.2) == 128 + signal.SIGKILL
    assert gone(grandchild(tmp_path))
    spawner.close()


async def test_a_killed_keeper_leaves_nothing(spawner: Spawner, tmp_path: Path) -> None:
    program = await start(spawner, tmp_path)
    child = program.pid
    assert child is not None
    os.kill(program.keeper_pid, signal.SIGKILL)
    assert await program.wait() == 128 + signal.SIGKILL
    assert gone(child)
    assert gone(grandchild(tmp_path))
    spawner.close()


async def test_a_program_that_is_not_there_is_reported(spawner: Spawner, tmp_path: Path) -> None:
    program = await spawner.start("ghost", ["/no/such/program"], env={}, log_path=tmp_path / "log", grace_seconds=1.0)
    assert await program.wait() == 127
    assert "cannot start /no/such/program: No such file or directory" in program.last_lines()
    spawner.close()


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int, int]]:
    """A supervisor process with one program: the process, the keeper's and the program's ids."""
    process = subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, str(tmp_path), FAMILY], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    keeper, program = map(int, process.stdout.readline().split())
    yield process, keeper, program
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_killed_supervisor_leaves_no_process_and_no_socket(
    supervisor: tuple[subprocess.Popen[str], int, int], tmp_path: Path
) -> None:
    process, keeper, program = supervisor
    process.kill()
    process.wait()
    for pid in (program, grandchild(tmp_path), keeper):
        assert gone(pid, 20)
    wait_absent(tmp_path / "sockets")
    assert not (tmp_path / "socket").exists()


def test_supervisor_and_keeper_killed_together_leave_nothing_either(
    supervisor: tuple[subprocess.Popen[str], int, int], tmp_path: Path
) -> None:
    process, keeper, program = supervisor
    os.kill(keeper, signal.SIGKILL)
    process.kill()
    process.wait()
    for pid in (program, grandchild(tmp_path)):
        assert gone(pid, 20)
    wait_absent(tmp_path / "sockets")


def wait_absent(path: Path) -> None:
    """Wait until the janitor, whose end closes the test, has removed *path*."""
    marker = f"TRITONFLEET_MARK=mark-{path.parent.name}".encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if marker in (entry / "environ").read_bytes().split(b"\0"):
                    assert gone(int(entry.name), 20)
            except OSError:
                continue
    assert not path.exists()


@pytest.mark.parametrize(
    ("status", "words"),
    [(0, "ended with exit status 0"), (137, "was killed by SIGKILL"), (3, "ended with exit status 3")],
)
def test_status_in_words(status: int, words: str) -> None:
    assert describe_status(status) == words
