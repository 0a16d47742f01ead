"""Several workers of one gateway: start them, restart one that dies, end them all."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import tempfile
from pathlib import Path

from prometheus_client import multiprocess

from tritonfleet.gateway.board import Board
from tritonfleet.gateway.command import GatewayOptions, command

log = logging.getLogger(__name__)

#: Wait before a worker is started again; it doubles with each death of that worker within a minute.
FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 30.0
STEADY_SECONDS = 60.0
#: Time beyond the drain deadline in which a worker must end.
EXIT_MARGIN_SECONDS = 5.0


class Workers:
    """The parent of the workers; it serves nothing itself."""

    def __init__(self, options: GatewayOptions, folder: Path) -> None:
        self._options = options
        self._folder = folder
        self._board_path = folder / "board"
        self._stop = asyncio.Event()
        self._processes: dict[int, asyncio.subprocess.Process] = {}

    async def run(self) -> None:
        """Keep all workers running until SIGTERM or SIGINT, then end them."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        Board.create(self._board_path, self._options.workers)
        async with asyncio.TaskGroup() as group:
            for worker in range(self._options.workers):
                group.create_task(self._keep(worker), name=f"worker {worker}")

    async def _keep(self, worker: int) -> None:
        wait = FIRST_WAIT_SECONDS
        loop = asyncio.get_running_loop()
        while not self._stop.is_set():
            started = loop.time()
            process = self._processes[worker] = await self._start(worker)
            await self._until_end(process)
            self._clean(worker, process.pid)
            if self._stop.is_set():
                return
            if loop.time() - started > STEADY_SECONDS:
                wait = FIRST_WAIT_SECONDS
            log.error("worker %d ended with status %s; it starts again in %g s", worker, process.returncode, wait)
            try:
                await asyncio.wait_for(self._stop.wait(), wait)
            except TimeoutError:
                wait = min(2 * wait, LONGEST_WAIT_SECONDS)

    async def _start(self, worker: int) -> asyncio.subprocess.Process:
        argv = [*command(self._options), "--board", str(self._board_path), "--worker", str(worker)]
        env = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(self._folder)}
        return await asyncio.create_subprocess_exec(*argv, env=env, stdin=asyncio.subprocess.DEVNULL)

    async def _until_end(self, process: asyncio.subprocess.Process) -> None:
        ended = asyncio.create_task(process.wait())
        stopping = asyncio.create_task(self._stop.wait())
        await asyncio.wait({ended, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not ended.done():
            process.terminate()
            try:
                await asyncio.wait_for(asyncio.shield(ended), self._options.drain_seconds + EXIT_MARGIN_SECONDS)
            except TimeoutError:
                log.warning("worker %d does not end; it is killed", process.pid)
                process.kill()
        await ended

    def _clean(self, worker: int, pid: int) -> None:
        """Take out of the shared counts what the worker had there."""
        multiprocess.mark_process_dead(pid, str(self._folder))  # type: ignore[no-untyped-call]
        board = Board(self._board_path, self._options.workers, worker)
        board.forget(worker)
        board.close()


def run_workers(options: GatewayOptions) -> None:
    """Serve with several workers until SIGTERM or SIGINT."""
    with tempfile.TemporaryDirectory(prefix="tritonfleet-gateway-") as folder:
        asyncio.run(Workers(options, Path(folder)).run())
    sys.stderr.flush()
