"""The supervisor's share of the fleet's one page: engines, bridge, GPUs and its own knowledge, merged.

The gateway puts its own metrics beside it and serves the whole. All scrapers share one recent page.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from typing import Protocol

from tritonfleet import __version__
from tritonfleet.engines.base import Call
from tritonfleet.metrics.gpu import GpuReader, NoGpus, gpu_text
from tritonfleet.metrics.merge import Changes, Family, Page
from tritonfleet.metrics.names import renamed
from tritonfleet.metrics.text import family
from tritonfleet.spec.models import ModelSpec
from tritonfleet.supervisor.probe import EngineHttp
from tritonfleet.supervisor.scrape import SECONDS, Scraper, Target, Unreadable
from tritonfleet.supervisor.state_metrics import replica_labels, state_text
from tritonfleet.supervisor.triton import reachable
from tritonfleet.supervisor.unit import ModelUnit
from tritonfleet.wire import Endpoint, FleetStatus, ModelState

log = logging.getLogger(__name__)

#: A page that is not older than this serves the next scraper as well.
SHARED_SECONDS = 0.5
#: States in which an engine can tell its metrics; one that is asleep may have ended to free its memory.
_TELLING: tuple[ModelState, ...] = ("ready", "draining", "asleep")
#: States in which an engine that tells nothing is as it should be.
_QUIET: tuple[ModelState, ...] = ("stopped", "asleep")
#: Triton's metrics port has what NVIDIA's backend would tell beside them, which the engines tell better.
_BRIDGE = "tritonfleet_bridge_"
_TRITON = "triton"


class Watched(Protocol):
    """What is needed of a fleet."""

    def status(self) -> FleetStatus:
        """Return the state of everything."""
        ...

    def unit(self, name: str) -> ModelUnit:
        """Return one model."""
        ...


class MetricsPage:
    """Makes the page when it is asked for."""

    def __init__(
        self,
        fleet: Watched,
        pool_of: Callable[[ModelSpec], str],
        *,
        gpus: GpuReader | None = None,
        share_text: Callable[[Mapping[str, str]], str] = lambda _: "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """*share_text* tells of models that take turns, given their pools; *gpus* is read only where it is given."""
        self._fleet = fleet
        self._pool_of = pool_of
        self._gpus = gpus
        self._share_text = share_text
        self._clock = clock
        self._scraper = Scraper()
        self._triton: tuple[Endpoint, EngineHttp] | None = None
        self._reading_gpus: asyncio.Task[str] | None = None
        self._page = ""
        self._made_at = float("-inf")
        self._making: asyncio.Task[str] | None = None
        self._silent: set[object] = set()

    async def text(self) -> str:
        """Return the page, made now or half a second ago; it takes a little more than a second at the most."""
        if self._making is None:
            if self._clock() - self._made_at <= SHARED_SECONDS:
                return self._page
            self._making = asyncio.create_task(self._make(), name="metrics")
            self._making.add_done_callback(self._made)
        return await asyncio.shield(self._making)

    async def close(self) -> None:
        """End what is under way."""
        if self._making is not None:
            self._making.cancel()
            await asyncio.gather(self._making, return_exceptions=True)
        if self._triton is not None:
            await self._triton[1].close()

    def _made(self, task: asyncio.Task[str]) -> None:
        self._making = None
        if not task.cancelled() and task.exception() is None:
            self._page, self._made_at = task.result(), self._clock()

    async def _make(self) -> str:
        status = self._fleet.status()
        units = {model.model: self._fleet.unit(model.model) for model in status.models}
        pools = {name: self._pool_of(unit.spec) for name, unit in units.items()}
        targets = [*_targets(status, units, pools), await self._triton_target(status, pools)]
        started = self._clock()
        pages, gpus = await asyncio.gather(self._scraper.read(targets), self._gpu_text(status.fleet))
        took = self._clock() - started
        page = Page()
        for target, found in zip(targets, pages, strict=True):
            if not target.may_be_silent:
                self._note(target.key, found)
            if not isinstance(found, Unreadable):
                page.add(found)
        read = {target.key for target, found in zip(targets, pages, strict=True) if not isinstance(found, Unreadable)}
        parts = {"supervisor": True, _TRITON: _TRITON in read}
        if self._gpus is not None:
            parts["gpu"] = bool(gpus)
        own = (
            state_text(status, pools, __version__),
            _scrape_text(status, pools, read),
            family("tritonfleet_scrape_part_up", [((status.fleet, part), parts[part]) for part in sorted(parts)]),
            family("tritonfleet_scrape_seconds", [((status.fleet,), took)]),
        )
        return "".join((page.text(), *own, self._share_text(pools), gpus))

    async def _triton_target(self, status: FleetStatus, pools: Mapping[str, str]) -> Target:
        host, _, port = status.doors["metrics"].rpartition(":")
        endpoint = Endpoint(host=reachable(host), port=int(port))
        if self._triton is None:
            self._triton = (endpoint, EngineHttp(endpoint))
        changes = Changes({"fleet": status.fleet}, only=(_BRIDGE,), pools=pools)
        return Target(_TRITON, self._triton[1], Call("GET", "/metrics"), changes, may_be_silent=True)

    async def _gpu_text(self, fleet: str) -> str:
        """Return the GPUs' families, nothing if NVML does not answer in time."""
        if self._gpus is None:
            return ""
        if self._reading_gpus is None:  # else an earlier reading hangs in the driver
            self._reading_gpus = asyncio.create_task(self._read_gpus(self._gpus, fleet))
            self._reading_gpus.add_done_callback(self._gpus_read)
        try:
            async with asyncio.timeout(SECONDS):
                return await asyncio.shield(self._reading_gpus)
        except TimeoutError:
            return ""

    def _gpus_read(self, _: asyncio.Task[str]) -> None:
        self._reading_gpus = None

    async def _read_gpus(self, gpus: GpuReader, fleet: str) -> str:
        try:
            readings = await asyncio.to_thread(gpus.read)
        except NoGpus as err:
            self._note("gpu", Unreadable(str(err)))
            return ""
        self._note("gpu", [])
        return gpu_text(readings, fleet, socket.gethostname())

    def _note(self, key: object, found: Sequence[Family] | Unreadable) -> None:
        """Log what cannot be read, once, and when it can be read again."""
        if isinstance(found, Unreadable):
            if key not in self._silent:
                log.warning("metrics of %s: %s", _shown(key), found)
            self._silent.add(key)
        elif key in self._silent:
            self._silent.discard(key)
            log.info("metrics of %s: read again", _shown(key))


def _targets(status: FleetStatus, units: Mapping[str, ModelUnit], pools: Mapping[str, str]) -> list[Target]:
    """Return the engines that can tell their metrics."""
    found = []
    for model in status.models:
        unit = units[model.model]
        for replica in model.replicas:
            if replica.state in _TELLING:
                labels = {"fleet": status.fleet, **replica_labels(model, replica, pools)}
                changes = Changes(labels, renamed(unit.adapter))
                key = (model.model, replica.replica)
                http, asleep = unit.engines[replica.replica].http, replica.state == "asleep"
                found.append(Target(key, http, unit.adapter.metrics, changes, may_be_silent=asleep))
    return found


def _scrape_text(status: FleetStatus, pools: Mapping[str, str], read: Collection[Hashable]) -> str:
    """Tell which engines could be read; one that is stopped or asleep on purpose is not missing."""
    told = []
    for model in status.models:
        for replica in model.replicas:
            well = (model.model, replica.replica) in read
            if well or replica.state not in _QUIET:
                told.append(((status.fleet, *replica_labels(model, replica, pools).values()), well))
    return family("tritonfleet_scrape_up", told)


def _shown(key: object) -> str:
    return "/".join(map(str, key)) if isinstance(key, tuple) else str(key)
