"""Replicas as real local fleets: each is a `tritonfleet up` of its own with the same models and other ports."""

from __future__ import annotations

import asyncio
import copy
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import yaml

PROBE_SECONDS = 0.5


@dataclass(eq=False)
class Pod:
    """One replica and its process."""

    name: str
    model: str
    http: int
    grpc: int
    openai: int
    log: Path
    process: asyncio.subprocess.Process
    asked_at: float
    ready_at: float | None = None
    terminating: bool = False

    @property
    def serving(self) -> bool:
        """Whether it takes new requests."""
        return self.ready_at is not None and not self.terminating

    async def wait_ready(self, session: aiohttp.ClientSession, now: Any) -> None:
        """Return once the model is ready at both doors; raise RuntimeError if the fleet ended.

        Triton itself is ready long before its model is.
        """
        triton = f"http://127.0.0.1:{self.http}/v2/models/{self.model}/ready"
        urls = (f"http://127.0.0.1:{self.openai}/health", triton)
        while True:
            if self.process.returncode is not None:
                raise RuntimeError(f"{self.name} ended: {self.log.read_text(errors='replace')[-2000:]}")
            if all([await _answers(session, url) for url in urls]):
                self.ready_at = now()
                return
            await asyncio.sleep(PROBE_SECONDS)  # a readiness probe's period

    async def terminate(self) -> int:
        """Ask the fleet to finish its requests and end, as a kubelet does; return its exit status."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        return await self.process.wait()


@dataclass
class Template:
    """What every pod of the pool runs."""

    spec: dict[str, Any]
    folder: Path
    first_port: int
    """Pods take four ports each from here on."""
    places: int
    """Pods that can be there at once, those that end included."""
    _taken: set[int] = field(default_factory=set)
    _made: int = 0

    async def start(self, now: float) -> Pod:
        """Start a pod."""
        place = min(set(range(self.places)) - self._taken)
        self._taken.add(place)
        self._made += 1
        name = f"pod-{self._made}"
        http, grpc, metrics, openai = range(self.first_port + 4 * place, self.first_port + 4 * place + 4)
        ports = {"http": http, "grpc": grpc, "metrics": metrics, "openai": openai}
        spec = copy.deepcopy(self.spec)
        spec["doors"] = {door: {"port": port} for door, port in ports.items()}
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(spec))
        log = self.folder / f"{name}.log"
        with log.open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tritonfleet", "up", str(path)),
                *("--no-install", "--state", str(self.folder / name)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=file,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        return Pod(name, spec["models"][0]["name"], http, grpc, openai, log, process, asked_at=now)

    def give_back(self, pod: Pod) -> None:
        """Let another pod have the ports of one that has ended."""
        self._taken.discard((pod.http - self.first_port) // 4)


async def _answers(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url, timeout=aiohttp.ClientTimeout(total=5)) as response:
            return response.status == 200
    except (aiohttp.ClientError, OSError, TimeoutError):
        return False
