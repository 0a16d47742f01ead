"""Serve the gateway's application with uvicorn, in one worker. Nothing of uvicorn leaves this module."""

from __future__ import annotations

import logging
import resource
import socket
from pathlib import Path
from typing import Any

import prometheus_client
import uvicorn

from tritonfleet.errors import AlreadyRunning, UsageError
from tritonfleet.gateway.app import build_app
from tritonfleet.gateway.board import Board
from tritonfleet.gateway.command import GatewayOptions
from tritonfleet.gateway.connection import protocol

log = logging.getLogger(__name__)

BACKLOG = 4096


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket that further workers may share the port with.

    Raises AlreadyRunning if the port is taken, UsageError if the host is no address of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror as err:
        raise UsageError(f"doors.openai: {host!r} is not an address of this machine ({err.strerror})") from err
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as err:
        listener.close()
        raise AlreadyRunning(f"doors.openai: {host}:{port} cannot be listened on ({err.strerror})") from err
    return listener


def check_free(host: str, port: int) -> None:
    """Raise AlreadyRunning if somebody listens there already; sharing a port would hide it."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as err:
            raise AlreadyRunning(f"doors.openai: port {port} of {host} is taken ({err.strerror})") from err


def build_server(options: GatewayOptions, board: Board) -> uvicorn.Server:
    """Return the server of one worker; it is not started."""
    config = uvicorn.Config(
        build_app(options, board),
        http=protocol(options.header_seconds),
        ws="none",
        loop="uvloop",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        date_header=False,
        timeout_keep_alive=max(1, round(options.idle_seconds)),
        timeout_graceful_shutdown=max(1, round(options.drain_seconds)),
        backlog=BACKLOG,
    )
    return uvicorn.Server(config)


def serve(options: GatewayOptions, board_path: Path | None = None, worker: int = 0) -> None:
    """Serve until SIGTERM or SIGINT, then finish running requests within ``drain_seconds``."""
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # a series for the birth of every other one
    logging.getLogger("uvicorn.error").addFilter(_is_news)
    raise_file_limit()
    board = Board(board_path, options.workers, worker)
    with listen(options.host, options.port) as listener:
        log.info("listens on %s:%d", options.host, options.port)
        build_server(options, board).run(sockets=[listener])


def raise_file_limit() -> None:
    """Allow as many open files as the system lets us: a request takes two connections, and the usual limit is 1024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _is_news(record: logging.LogRecord) -> bool:
    """Leave out what uvicorn says of an answer that was broken off on purpose; its reason is logged elsewhere."""
    return "returned without completing response" not in record.getMessage()


def configure_logging(prefix: str) -> None:
    """Log to standard error, which the supervisor keeps in a file."""
    form: dict[str, Any] = {"format": f"%(asctime)s {prefix} %(levelname)s %(message)s"}
    logging.basicConfig(level=logging.INFO, **form)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
