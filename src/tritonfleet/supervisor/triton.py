"""tritonserver as the supervisor sees it: its command line, its repository API, its stub processes."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import psutil

from tritonfleet.engines.base import Runtime
from tritonfleet.errors import TritonFailed
from tritonfleet.spec.models import Doors

#: Loading waits for the engine, so the HTTP client itself sets no deadline; the engine's start has one.
NO_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=5)
PROBE_TIMEOUT = aiohttp.ClientTimeout(total=5)
#: Triton's groups of APIs that manage a server; loading a model is running its code.
ADMIN_APIS = ("model-repository", "trace", "logging", "shared-memory")
#: Header with the key that they ask for where they are closed.
ADMIN_HEADER = "tritonfleet-admin"


@dataclass(frozen=True)
class IndexEntry:
    """One line of Triton's repository index."""

    name: str
    version: str
    state: str
    """READY, LOADING, UNLOADING, UNAVAILABLE, or empty for a model never loaded."""
    reason: str


def command(
    runtime: Runtime,
    doors: Doors,
    repositories: Sequence[str],
    backends: Path,
    *,
    shm_prefix: str,
    drain_seconds: float,
    tracing: Sequence[str] = (),
    admin_key: str | None = None,
) -> tuple[str, ...]:
    """Return tritonserver's command line: explicit mode, no model at the start, our backend folder.

    *tracing* are values of --trace-config; with *admin_key* the APIs that manage the server ask for it.
    """
    restricted = f"{','.join(ADMIN_APIS)}:{ADMIN_HEADER}={admin_key}"
    return (
        str(runtime.executable),
        *(f"--model-repository={repository}" for repository in repositories),
        "--model-control-mode=explicit",
        f"--backend-directory={backends}",
        # Two servers on one host must not share the names of their shared-memory regions.
        f"--backend-config=python,shm-region-prefix-name={shm_prefix}",
        f"--http-address={doors.http.host}",
        f"--http-port={doors.http.port}",
        f"--grpc-address={doors.grpc.host}",
        f"--grpc-port={doors.grpc.port}",
        f"--metrics-address={doors.metrics.host}",
        f"--metrics-port={doors.metrics.port}",
        f"--exit-timeout-secs={max(1, round(drain_seconds))}",
        *(f"--trace-config={setting}" for setting in tracing),
        *((f"--http-restricted-api={restricted}", f"--grpc-restricted-protocol={restricted}") if admin_key else ()),
    )


def reachable(host: str) -> str:
    """Return the address at which this machine reaches a door that listens on *host*."""
    return "127.0.0.1" if host in ("0.0.0.0", "::", "") else host  # noqa: S104 - compared, not bound


class TritonHttp:
    """The few routes of Triton's HTTP API that the supervisor uses."""

    def __init__(self, host: str, port: int, admin_key: str | None = None) -> None:
        self._base = f"http://{reachable(host)}:{port}/v2"
        self._headers = {ADMIN_HEADER: admin_key} if admin_key else {}
        self._session: aiohttp.ClientSession | None = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(force_close=True, limit=0)
            self._session = aiohttp.ClientSession(connector=connector, headers=self._headers)
        return self._session

    async def live(self) -> bool:
        """Whether the server answers."""
        try:
            async with self._open().get(f"{self._base}/health/live", timeout=PROBE_TIMEOUT) as response:
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False

    async def load(self, model: str, timeout_seconds: float | None = None) -> None:
        """Load *model* and wait for it; raise TritonFailed with Triton's reason, or at the deadline."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._post(f"repository/models/{model}/load", model)
        except TimeoutError:
            raise TritonFailed(
                f"{model}: not loaded within {timeout_seconds:g} s; `tritonfleet repository check` may tell why"
            ) from None

    async def unload(self, model: str) -> None:
        """Unload *model*; Triton answers at once and finishes running requests."""
        await self._post(f"repository/models/{model}/unload", model)

    async def index(self) -> tuple[IndexEntry, ...]:
        """Return every model that Triton knows."""
        try:
            async with self._open().post(f"{self._base}/repository/index", timeout=PROBE_TIMEOUT) as response:
                entries = await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as err:
            raise TritonFailed(f"tritonserver does not tell its models: {err}") from err
        return tuple(
            IndexEntry(entry["name"], entry.get("version", ""), entry.get("state", ""), entry.get("reason", ""))
            for entry in entries
        )

    async def instances(self, model: str) -> int:
        """Return how many instances, and so stubs, *model* has by its configuration; 0 when it is not loaded."""
        try:
            async with self._open().get(f"{self._base}/models/{model}/config", timeout=PROBE_TIMEOUT) as response:
                if response.status != 200:
                    return 0
                config = await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            return 0
        return sum(
            max(1, int(group.get("count", 1))) * max(1, len(group.get("gpus", ())))
            for group in config["instance_group"]
        )

    async def _post(self, path: str, model: str) -> None:
        try:
            async with self._open().post(f"{self._base}/{path}", json={}, timeout=NO_TIMEOUT) as response:
                if response.status != 200:
                    raise TritonFailed(f"{model}: {_error_text(await response.text())}")
        except (aiohttp.ClientError, TimeoutError, OSError) as err:
            raise TritonFailed(f"{model}: tritonserver did not answer: {err}") from err

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()


def _error_text(body: str) -> str:
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return body.strip() or "no reason given"


class StubWatch:
    """Notices stub processes that end while Triton lives: Triton itself would show their model as ready for ever."""

    def __init__(self) -> None:
        self._handles: dict[int, tuple[int, str]] = {}
        self._ended: list[str] = []
        self.ended = asyncio.Event()

    def look(self, triton_pid: int) -> None:
        """Find new stubs of the server and watch them (cheap; call it about once a second)."""
        for pid, model in stub_pids(triton_pid).items():
            if pid not in self._handles:
                try:
                    handle = os.pidfd_open(pid)
                except ProcessLookupError:
                    continue
                self._handles[pid] = (handle, model)
                asyncio.get_running_loop().add_reader(handle, self._on_end, pid)

    def alive(self, model: str) -> int:
        """Return how many watched stubs of *model* live."""
        return sum(1 for _, name in self._handles.values() if name == model)

    def take_ended(self) -> list[str]:
        """Return the models of the stubs that ended since the last call."""
        ended, self._ended = self._ended, []
        self.ended.clear()
        return ended

    def _on_end(self, pid: int) -> None:
        self._ended.append(self._forget(pid))
        self.ended.set()

    def _forget(self, pid: int) -> str:
        handle, model = self._handles.pop(pid)
        asyncio.get_running_loop().remove_reader(handle)
        os.close(handle)
        return model

    def clear(self) -> None:
        """Forget all stubs."""
        for pid in list(self._handles):
            self._forget(pid)
        self.take_ended()


def stub_pids(triton_pid: int) -> dict[int, str]:
    """Return the stubs of the server: process id to the name of their model."""
    found: dict[int, str] = {}
    try:
        children = psutil.Process(triton_pid).children(recursive=True)
    except psutil.Error:
        return found
    for child in children:
        try:
            words = child.cmdline()
        except psutil.Error:
            continue
        if words and "triton_python_backend_stub" in words[0]:
            found[child.pid] = stub_model(words)
    return found


def stub_model(words: Sequence[str]) -> str:
    """Return the model's name from a stub's command line, which names the instance as ``MODEL_0_0``."""
    instances = (found[1] for word in reversed(words) if (found := re.fullmatch(r"(.+)_\d+_\d+", word)))
    return next(instances, "")
