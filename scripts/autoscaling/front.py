"""Debian's nginx before the pods, and Debian's Prometheus that scrapes them; both get told when pods come and go."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from autoscaling.pods import Pod

_NGINX = """\
daemon off;
worker_processes 1;
error_log {folder}/nginx-error.log notice;
pid {folder}/nginx.pid;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream openai {{ least_conn; {openai} }}
    upstream kserve {{ least_conn; {kserve} }}
    server {{
        listen 127.0.0.1:{http_port};
        location / {{
            proxy_pass http://openai;
            proxy_http_version 1.1;
            proxy_buffering off;  # server-sent events
            proxy_read_timeout 600s;
        }}
    }}
    server {{
        listen 127.0.0.1:{grpc_port} http2;
        location / {{
            grpc_pass grpc://kserve;
            grpc_read_timeout 600s;
            grpc_send_timeout 600s;
        }}
    }}
}}
"""
_PROMETHEUS = """\
global: {{scrape_interval: {every}, scrape_timeout: {every}}}
scrape_configs:
- job_name: pods
  file_sd_configs: [{{files: ["{folder}/pods.json"], refresh_interval: 1s}}]
- job_name: kube-state-metrics
  static_configs: [{{targets: ["127.0.0.1:{state_port}"]}}]
  honor_labels: true
"""


@dataclass
class Nginx:
    """The load balancer: OpenAI with server-sent events on one port, KServe over gRPC on the other."""

    folder: Path
    http_port: int
    grpc_port: int
    process: asyncio.subprocess.Process | None = None

    async def show(self, pods: Iterable[Pod]) -> None:
        """Send new requests to *pods* only; return once that holds. Requests under way are left alone."""
        pods = list(pods)
        config = self.folder / "nginx.conf"
        config.write_text(
            _NGINX.format(
                folder=self.folder,
                http_port=self.http_port,
                grpc_port=self.grpc_port,
                openai=_servers([pod.openai for pod in pods]),
                kserve=_servers([pod.grpc for pod in pods]),
            )
        )
        if self.process is None:
            self.process = await asyncio.create_subprocess_exec("nginx", "-p", str(self.folder), "-c", str(config))
            await _until(lambda: _listens(self.http_port) and _listens(self.grpc_port), "nginx listens", self.process)
            return
        before = self._workers()
        self.process.send_signal(signal.SIGHUP)  # new workers with the new file, the old ones finish what they have
        await _until(lambda: bool(self._workers() - before), "nginx has read its new file", self.process)

    async def stop(self) -> None:
        """End it."""
        await _end(self.process)

    def _workers(self) -> set[int]:
        assert self.process is not None
        return {child.pid for child in psutil.Process(self.process.pid).children()}


@dataclass
class Prometheus:
    """The one that the autoscaler asks."""

    folder: Path
    port: int
    state_port: int
    """Port of the metrics that kube-state-metrics has in a cluster."""
    namespace: str
    scrape_seconds: float
    process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it, and return once it answers."""
        self.show([])
        config = self.folder / "prometheus.yml"
        config.write_text(
            _PROMETHEUS.format(every=f"{self.scrape_seconds:g}s", folder=self.folder, state_port=self.state_port)
        )
        with (self.folder / "prometheus.log").open("wb") as log:
            self.process = await asyncio.create_subprocess_exec(
                *("prometheus", f"--config.file={config}", f"--storage.tsdb.path={self.folder}/tsdb"),
                f"--web.listen-address=127.0.0.1:{self.port}",
                stdout=log,
                stderr=log,
            )
        await _until(lambda: _listens(self.port), f"Prometheus listens (see {log.name})", self.process)

    def show(self, pods: Sequence[Pod]) -> None:
        """Scrape *pods*, under the labels that a PodMonitor adds."""
        targets = [
            {"targets": [f"127.0.0.1:{pod.openai}"], "labels": {"namespace": self.namespace, "pod": pod.name}}
            for pod in pods
        ]
        new = self.folder / "pods.json.new"
        new.write_text(json.dumps(targets))
        new.rename(self.folder / "pods.json")

    async def stop(self) -> None:
        """End it."""
        await _end(self.process)


def _servers(ports: Sequence[int]) -> str:
    # A pod that is about to be taken away is not marked as failed: it still answers.
    return " ".join(f"server 127.0.0.1:{port} max_fails=0;" for port in ports)


def _listens(port: int) -> bool:
    listening = (found.laddr for found in psutil.net_connections("tcp") if found.status == psutil.CONN_LISTEN)
    return any(address and address.port == port for address in listening)


async def _until(
    holds: Callable[[], bool], what: str, process: asyncio.subprocess.Process, seconds: float = 30
) -> None:
    """Return once *holds* does; raise RuntimeError if *process* ends or the time is over before."""
    deadline = time.monotonic() + seconds
    while not holds():
        if process.returncode is not None or time.monotonic() > deadline:
            raise RuntimeError(f"it did not come about that {what}; exit status {process.returncode}")
        await asyncio.sleep(0.05)  # nothing tells of another process's socket


async def _end(process: asyncio.subprocess.Process | None) -> None:
    if process is not None and process.returncode is None:
        process.terminate()
    if process is not None:
        await process.wait()
