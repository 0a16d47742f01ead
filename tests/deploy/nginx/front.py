"""Debian's nginx with the configuration of deploy/nginx, on ports of its own."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.ports import free_ports

CONFIG = Path(__file__).parents[3] / "deploy/nginx/tritonfleet.conf"
START_SECONDS = 20.0

#: What a distribution's nginx.conf is around files of conf.d; everything it writes goes into one folder.
MAIN = """
daemon off;
user root;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/tritonfleet.conf;
}}
"""


@dataclass(frozen=True)
class Front:
    """A running nginx."""

    http_port: int
    grpc_port: int

    @property
    def url(self) -> str:
        """Base URL for HTTP/1.1."""
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def grpc(self) -> str:
        """HOST:PORT for gRPC."""
        return f"127.0.0.1:{self.grpc_port}"


def settings() -> dict[str, str]:
    """Return the directives of the server block that stand outside of locations."""
    server = CONFIG.read_text().partition("\nserver {")[2].partition("\n    location")[0]
    return dict(re.findall(r"^    (\w+) ([^;{}]+);$", server, re.MULTILINE))


def with_tls(text: str, port: int, folder: Path) -> str:
    """Return the file with the README's TLS lines, for a certificate in *folder*."""
    block = re.search(r"```nginx\n(.*?)```", (CONFIG.parent / "README.md").read_text(), re.DOTALL)
    assert block
    lines = block[1].replace("listen 443 ", f"listen 127.0.0.1:{port} ").replace("/etc/nginx/tls/", f"{folder}/")
    plain = re.search(r"    listen \S+;\n    listen \S+ http2;\n", text)
    assert plain
    return text.replace(plain[0], lines)


def configured(front: Front, servers: Mapping[int, str], changed: Mapping[str, str]) -> str:
    """Return the file with other ports, *servers* by the port that it names, and *changed* directives."""
    text = CONFIG.read_text()
    edits = {f"server 127.0.0.1:{port};": f"server {address};" for port, address in servers.items()}
    edits |= {"listen 80;": f"listen 127.0.0.1:{front.http_port};"}
    edits |= {"listen 81 http2;": f"listen 127.0.0.1:{front.grpc_port} http2;"}
    edits |= {f"    {name} {settings()[name]};": f"    {name} {value};" for name, value in changed.items()}
    for old, new in edits.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


@contextmanager
def nginx(folder: Path, servers: Mapping[int, str], *, tls: bool = False, **changed: str) -> Iterator[Front]:
    """Run nginx in front of *servers* until the block ends; *tls* takes fleet.crt and fleet.key from *folder*."""
    front = Front(*free_ports(2))
    text = configured(front, servers, changed)
    (folder / "tritonfleet.conf").write_text(with_tls(text, front.grpc_port, folder) if tls else text)
    (folder / "nginx.conf").write_text(MAIN.format(folder=folder))
    argv = ["nginx", "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as process:
        try:
            _wait(process, front)
            yield front
        finally:
            process.terminate()


def _wait(process: subprocess.Popen[str], front: Front) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", front.grpc_port), 1).close()
            return
        except OSError:
            assert time.monotonic() < deadline, "nginx does not listen"
        try:
            process.wait(0.02)
        except subprocess.TimeoutExpired:
            continue
        raise AssertionError(process.stderr and process.stderr.read())
