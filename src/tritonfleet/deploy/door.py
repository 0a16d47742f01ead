"""The OpenAI door of a fleet of several pools: one gateway in front of the pods' own.

A request of the OpenAI API names its model in its body, so no load balancer can find the pool. The gateway can: it
asks a control socket for routes, as it does beside engines. Here this process answers, with the pods that the pools'
headless Services name in DNS. Started by the image: ``python -m tritonfleet.deploy.door FILE``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import signal
import socket
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from tritonfleet.errors import FleetError, UsageError
from tritonfleet.gateway.command import command, options_of
from tritonfleet.spec.models import Door, GatewaySpec, TracingSpec
from tritonfleet.wire import Endpoint, Route, dump

log = logging.getLogger(__name__)

#: Time between two looks at the pools' addresses. Pods that end serve on for longer than this (the chart's preStop).
LOOK_SECONDS = 2.0
#: A gateway renews its question after 60 s; an answer before that saves it the timeout.
POLL_SECONDS = 50.0


@dataclass(frozen=True)
class DoorModel:
    """One model behind the door."""

    model: str
    service: str
    """Headless Service of its pool: a DNS name with one address for each ready pod."""
    port: int
    loras: tuple[str, ...] = ()
    max_model_len: int | None = None
    pool: str = ""


@dataclass(frozen=True)
class Table:
    """What the chart tells the door."""

    fleet: str
    models: tuple[DoorModel, ...]
    gateway: GatewaySpec
    tracing: TracingSpec | None


def read_table(path: Path) -> Table:
    """Return what the file *path* holds; raise UsageError if it is no such file."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        models = [DoorModel(**{**entry, "loras": tuple(entry.get("loras", ()))}) for entry in data["models"]]
        tracing = TracingSpec(**data["tracing"]) if data.get("tracing") else None
        return Table(data["fleet"], tuple(models), GatewaySpec(**data.get("gateway", {})), tracing)
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise UsageError(f"{path} does not tell the models behind the door: {err}") from err


def routes_of(models: Sequence[DoorModel], addresses: Mapping[str, Sequence[str]]) -> tuple[Route, ...]:
    """Return a route for each model; *addresses* holds those of each Service. Pure."""
    return tuple(
        Route(
            model=entry.model,
            engine="tritonfleet",
            served_name=entry.model,
            endpoints=tuple(Endpoint(host=_url_host(host), port=entry.port) for host in addresses[entry.service]),
            loras=entry.loras,
            lora_enabled=bool(entry.loras),
            max_model_len=entry.max_model_len,
            state="ready" if addresses[entry.service] else "starting",
            reason="" if addresses[entry.service] else "none of its pods is ready",
            pool=entry.pool,
        )
        for entry in models
    )


def _url_host(address: str) -> str:
    return f"[{address}]" if ":" in address else address


class Directory:
    """The routes as DNS tells them now, and the socket that hands them to the gateway."""

    def __init__(self, models: Sequence[DoorModel]) -> None:
        self._models = models
        self._addresses: dict[str, tuple[str, ...]] = {entry.service: () for entry in models}
        self._revision = 0
        self._changed = asyncio.Condition()
        app = web.Application()
        app.router.add_get("/v1/routes", self._routes)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)

    async def listen(self, path: Path) -> None:
        """Serve ``GET /v1/routes`` on the Unix socket *path*."""
        await self._runner.setup()
        await web.UnixSite(self._runner, str(path)).start()

    async def close(self) -> None:
        """Stop serving."""
        await self._runner.cleanup()

    async def watch(self) -> None:
        """Look at the addresses again and again, for ever."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Ask DNS once for every Service."""
        ports = {entry.service: entry.port for entry in self._models}
        found = await asyncio.gather(*(_resolve(service, port) for service, port in ports.items()))
        # No word from DNS is not the word that there is nobody: the last pods stay.
        fresh = {name: hosts for name, hosts in zip(ports, found, strict=True) if hosts is not None}
        if all(self._addresses[name] == hosts for name, hosts in fresh.items()) and self._revision:
            return
        self._addresses |= fresh
        async with self._changed:
            self._revision += 1
            self._changed.notify_all()
        log.info("pods: %s", ", ".join(f"{name} {len(hosts)}" for name, hosts in self._addresses.items()))

    def routes(self) -> tuple[Route, ...]:
        """Return the routes of the last look."""
        return routes_of(self._models, self._addresses)

    async def _routes(self, request: web.Request) -> web.Response:
        after = int(request.query.get("after", "-1"))
        try:
            async with asyncio.timeout(POLL_SECONDS), self._changed:
                await self._changed.wait_for(lambda: self._revision > max(after, 0))
        except TimeoutError:
            pass  # nothing new
        routes = ",".join(map(dump, self.routes()))
        return web.Response(
            text=f'{{"revision":{self._revision},"routes":[{routes}]}}', content_type="application/json"
        )


async def _resolve(service: str, port: int) -> tuple[str, ...] | None:
    """Return the addresses behind a DNS name, sorted; none if the name has none, None if DNS does not answer."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(service, port, type=socket.SOCK_STREAM)
    except socket.gaierror as err:
        if err.errno in (socket.EAI_NONAME, socket.EAI_NODATA):
            return ()
        log.warning("%s: DNS does not answer (%s); the last pods stay", service, err.strerror)
        return None
    return tuple(sorted({str(entry[4][0]) for entry in found}))


async def run(path: Path, *, host: str, port: int, keys: str, drain_seconds: float, cores: int) -> int:
    """Run the door until SIGTERM or SIGINT; return the gateway's exit status."""
    table = read_table(path)
    directory = Directory(table.models)
    with tempfile.TemporaryDirectory(prefix="door-") as folder:
        control = Path(folder) / "control.sock"
        await directory.listen(control)
        options = options_of(
            table.gateway,
            Door(host=host, port=port),
            fleet=table.fleet,
            control=str(control),
            keys=keys,
            admin_token=str(Path(folder) / "no-token"),  # there is no supervisor here to manage
            drain_seconds=drain_seconds,
            cores=cores,
            tracing=table.tracing,
        )
        watch = asyncio.create_task(directory.watch())
        gateway = await asyncio.create_subprocess_exec(*command(options))
        asked: set[int] = set()

        def stop(number: signal.Signals) -> None:
            asked.add(-number)
            gateway.send_signal(number)

        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop, number)
        try:
            status = await gateway.wait()
            return 0 if status in asked else status  # uvicorn ends by the signal, once it has drained
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
            await directory.close()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tritonfleet.deploy.door", description=__doc__)
    parser.add_argument("path", type=Path, metavar="FILE", help="JSON: settings, and each model's Service")
    parser.add_argument("--host", default="0.0.0.0", help="address to listen on")  # noqa: S104 - inside a pod
    parser.add_argument("--port", type=int, default=9000, help="TCP port to listen on")
    parser.add_argument("--keys", default="/var/lib/tritonfleet/keys.json", help="file of API keys")
    parser.add_argument("--drain-seconds", type=float, default=60.0, help="time for running requests after SIGTERM")
    parser.add_argument("--cores", type=int, default=2, help="cores that the door may use")
    options: dict[str, Any] = vars(parser.parse_args(argv))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s door %(levelname)s %(message)s")
    try:
        return asyncio.run(run(**options))
    except FleetError as err:
        print(f"error: {err}", file=sys.stderr)  # noqa: T201 - its log
        return err.exit_code


if __name__ == "__main__":
    sys.exit(main())
