"""Run the fake engine until SIGTERM or SIGINT; ``--help`` lists what can be scripted."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

from aiohttp import web

from tritonfleet.fake_engine.engine import Engine
from tritonfleet.fake_engine.options import Options, parse_options
from tritonfleet.fake_engine.server import Server

#: A program that only a kill ends, as an engine's core process does when its parent is gone.
CHILD = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); [signal.pause() for _ in iter(int, 1)]"


def main() -> int:
    """Serve; return the exit status."""
    return asyncio.run(_serve(parse_options()))


async def _serve(options: Options) -> int:
    asked_to_stop = _stop_event(options)
    try:
        listener = _bind(options)
    except OSError as err:
        _say(f"cannot listen on {options.uds or f'{options.host}:{options.port}'}: {err}")
        return 1
    with listener, _child(options):
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asked_to_stop.wait(), options.start_seconds)
            return 0
        if options.fail_start:
            _say(options.fail_start_message)
            return options.fail_start
        application = Server(Engine(options)).application()
        # A client that goes away cancels its handler, and with it the request in the engine.
        runner = web.AppRunner(application, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        await web.SockSite(runner, listener).start()
        _say(f"{options.name} is served on {options.uds or f'{options.host}:{options.port}'}")
        await asked_to_stop.wait()
        await runner.cleanup()
    return 0


def _stop_event(options: Options) -> asyncio.Event:
    event = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, event.set)
    loop.add_signal_handler(signal.SIGTERM, (lambda: None) if options.ignore_sigterm else event.set)
    return event


def _bind(options: Options) -> socket.socket:
    """Take the address before the start, as vLLM does; connections are refused until the engine listens."""
    if options.uds:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(options.uds)
    else:
        listener = socket.socket(socket.AF_INET6 if ":" in options.host else socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((options.host, options.port))
    return listener


@contextlib.contextmanager
def _child(options: Options) -> Iterator[None]:
    """Hold the child of --spawn-child; it is ended with a polite stop, and left behind by a kill."""
    if not options.spawn_child:
        yield
        return
    with subprocess.Popen([sys.executable, "-c", CHILD], stdin=subprocess.DEVNULL) as child:
        _say(f"child {child.pid}")
        try:
            yield
        finally:
            child.kill()


def _say(text: str) -> None:
    print(f"fake engine: {text}", file=sys.stderr, flush=True)  # noqa: T201 - its log


if __name__ == "__main__":
    sys.exit(main())
