"""A real tritonserver with the bridge, engines behind it, and a stand-in for the supervisor's control socket."""

from __future__ import annotations

import asyncio
import json
import os
import queue
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc as grpcclient
from aiohttp import web

from tests.ports import free_ports
from tritonfleet.bridge import install_backend
from tritonfleet.engines.base import Runtime
from tritonfleet.wire import CONTROL_VARIABLE, Endpoint, ModelStatus, Route, dump

START_SECONDS = 60.0


class Supervisor:
    """Answers the bridge as the supervisor would, from a table of routes; records what it was asked."""

    def __init__(self, path: Path) -> None:
        self.socket = path
        self.routes: dict[str, Route] = {}
        self.refusals: dict[str, str] = {}
        self.reasons: dict[str, str] = {}
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def start(self) -> None:
        """Listen."""
        self._thread.start()
        app = web.Application()
        app.router.add_post("/v1/bridge/acquire", self._acquire)
        app.router.add_post("/v1/bridge/release", self._release)
        app.router.add_get("/v1/models/{name}", self._model)
        self._runner = web.AppRunner(app)
        asyncio.run_coroutine_threadsafe(self._serve(), self._loop).result()

    def stop(self) -> None:
        """Stop listening."""
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def asked(self, kind: str) -> list[str]:
        """Return the models of all calls of that kind, in order."""
        return [body["model"] for name, body in self.calls if name == kind]

    async def _serve(self) -> None:
        await self._runner.setup()
        await web.UnixSite(self._runner, str(self.socket)).start()

    async def _acquire(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.calls.append(("acquire", body))
        if reason := self.refusals.get(body["model"]):
            error = {"error": {"message": reason, "kind": "EngineFailed"}}
            return web.json_response(error, status=503)
        return web.Response(text=dump(self.routes[body["model"]]), content_type="application/json")

    async def _release(self, request: web.Request) -> web.Response:
        self.calls.append(("release", await request.json()))
        return web.json_response({})

    async def _model(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        reason = self.reasons.get(name, "")
        status = ModelStatus(name, "fake", "", "restarting" if reason else "ready", in_triton=True, reason=reason)
        return web.Response(text=dump(status), content_type="application/json")


@dataclass
class Engine:
    """A running engine process."""

    process: subprocess.Popen[bytes]
    socket: Path
    log: Path

    @property
    def endpoint(self) -> Endpoint:
        """Where it listens."""
        return Endpoint(uds=str(self.socket))

    def metric(self, name: str) -> float:
        """Return the sum of a metric's series."""
        text = unix_get(self.socket, "/metrics")
        lines = [line for line in text.splitlines() if line.split("{")[0].split(" ")[0] == name]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    def stop(self) -> None:
        """End it politely: a killed vLLM leaves shared memory behind."""
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(20)
        self.kill()

    def kill(self) -> None:
        """End it at once."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def unix_get(where: Path, path: str) -> str:
    """Return the body of a GET over a Unix socket; raise OSError if it fails."""
    done = subprocess.run(
        ["curl", "--silent", "--show-error", "--fail", "--unix-socket", str(where), f"http://engine{path}"],
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )
    if done.returncode:
        raise OSError(done.stderr)
    return done.stdout


def until(
    what: str, seconds: float, condition: Callable[[], Any], process: subprocess.Popen[bytes] | None = None
) -> Any:
    """Return *condition*'s first true value; fail after *seconds*, or when *process* ends."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(OSError):
            if value := condition():
                return value
        if process is not None and process.poll() is not None:
            break
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds:g} s: {what}")


def start_engine(argv: Sequence[str], where: Path, log: Path, env: dict[str, str] | None = None) -> Engine:
    """Start an engine that listens on *where* and wait for its health."""
    with log.open("wb") as stream:
        process = subprocess.Popen(
            argv, stdout=stream, stderr=stream, start_new_session=True, env={**os.environ, **(env or {})}
        )
    engine = Engine(process, where, log)
    try:
        until(f"{argv} is healthy; {log}", 240, lambda: unix_get(where, "/health") == "", process)
    except AssertionError as err:
        engine.kill()
        raise AssertionError(f"{err}\n{log.read_text(errors='replace')[-3000:]}") from None
    return engine


@dataclass
class Response:
    """One message of a gRPC stream."""

    texts: list[str]
    final: bool
    tensors: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The only choice's text."""
        (text,) = self.texts
        return text


class StreamError(Exception):
    """The model answered with an error."""


@dataclass
class Triton:
    """A running tritonserver."""

    process: subprocess.Popen[bytes]
    repository: Path
    log: Path
    http: int
    grpc: int
    metrics_port: int

    def add(self, name: str, config: str = 'backend: "vllm"\n', arguments: dict[str, Any] | None = None) -> Path:
        """Write a model into the repository."""
        folder = self.repository / name / "1"
        folder.mkdir(parents=True, exist_ok=True)
        (folder.parent / "config.pbtxt").write_text(config)
        if arguments is not None:
            (folder / "model.json").write_text(json.dumps(arguments))
        return folder

    def load(self, name: str) -> None:
        """Load a model; raise AssertionError with Triton's reason."""
        status, body = self.post(f"repository/models/{name}/load", {})
        assert status == 200, body

    def unload(self, name: str) -> None:
        """Unload a model and wait until it is gone."""
        self.post(f"repository/models/{name}/unload", {})
        until(f"{name} is unloaded", 30, lambda: self.state(name) == "UNAVAILABLE")

    def state(self, name: str) -> str:
        """Return the model's state in the repository index."""
        _, body = self.post("repository/index", {})
        return str(next((entry.get("state", "") for entry in body if entry["name"] == name), ""))

    def post(self, path: str, body: Any, timeout: float = 30) -> tuple[int, Any]:
        """POST JSON; return the status and the decoded answer."""
        status, text = self.post_raw(path, body, timeout)
        return status, json.loads(text) if text else None

    def post_raw(self, path: str, body: Any, timeout: float = 30) -> tuple[int, str]:
        """POST JSON; return the status and the text of the answer."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}/v2/{path}", json.dumps(body).encode())
        try:
            with urllib.request.urlopen(request, timeout=timeout) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as err:
            with err:
                return err.code, err.read().decode()

    def live(self) -> bool:
        """Whether the server answers; raise OSError if nobody listens."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/v2/health/live", timeout=5) as response:
            return bool(response.status == 200)

    def get(self, path: str) -> Any:
        """GET and decode JSON."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/v2/{path}", timeout=10) as response:
            return json.loads(response.read())

    def metrics(self) -> str:
        """Return the text of Triton's metrics."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=10) as response:
            return str(response.read().decode())

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of the series of a metric that have those labels; 0 without any."""
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        return sum(
            float(line.rsplit(" ", 1)[1])
            for line in self.metrics().splitlines()
            if line.split("{")[0] == name and all(label in line for label in wanted)
        )

    def generate(self, model: str, body: dict[str, Any]) -> dict[str, Any]:
        """Call /generate; raise StreamError with the model's error."""
        _, answer = self.post(f"models/{model}/generate", body)
        if "error" in answer:
            raise StreamError(answer["error"])
        return dict(answer)

    def infer(self, model: str, inputs: dict[str, Any], **options: Any) -> list[Response]:
        """Send one request over a gRPC stream of its own and return all responses; raise StreamError."""
        with self.streaming(model, inputs, **options) as responses:
            return list(responses)

    @contextmanager
    def streaming(self, model: str, inputs: dict[str, Any], **options: Any) -> Iterator[Iterator[Response]]:
        """Send one request over gRPC and yield its responses as they come; leaving cancels it."""
        results: queue.SimpleQueue[tuple[Any, Any]] = queue.SimpleQueue()
        client = grpcclient.InferenceServerClient(f"127.0.0.1:{self.grpc}")
        ended: list[bool] = []
        try:
            client.start_stream(lambda result, error: results.put((result, error)))
            client.async_stream_infer(model, [_tensor(*item) for item in inputs.items()], **options)
            yield _responses(results, ended)
        finally:
            # Triton 2.51 never lets go of a model whose request was cancelled after its final response.
            client.stop_stream(cancel_requests=not ended)
            client.close()

    def stop(self) -> None:
        """End the server politely."""
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            tail = self.log.read_text(errors="replace")[-3000:]
            raise AssertionError(f"tritonserver did not end within 30 s\n{tail}") from None


def _responses(results: queue.SimpleQueue[tuple[Any, Any]], ended: list[bool]) -> Iterator[Response]:
    while True:
        result, error = results.get(timeout=60)
        if error is not None:
            ended.append(True)
            raise StreamError(error.message())
        response = result.get_response()
        tensors = {output.name: result.as_numpy(output.name) for output in response.outputs}
        texts = next((tensors[name] for name in ("text_output", "TEXT") if name in tensors), np.array([]))
        final = response.parameters["triton_final_response"].bool_param
        if final:
            ended.append(True)
        yield Response([text.decode() for text in texts.ravel().tolist()], final, tensors)
        if final:
            return


def _tensor(name: str, value: Any) -> grpcclient.InferInput:
    if isinstance(value, bool):
        array, kind = np.array([value]), "BOOL"
    else:
        text = json.dumps(value) if isinstance(value, dict) else value
        array, kind = np.array([text if isinstance(text, bytes) else text.encode()], dtype=np.object_), "BYTES"
    tensor = grpcclient.InferInput(name, [1], kind)
    tensor.set_data_from_numpy(array)
    return tensor


def start_triton(runtime: Runtime, folder: Path, control: Path | None, options: Sequence[str] = ()) -> Triton:
    """Start tritonserver in explicit mode with the bridge in its backend folder, and wait until it is live."""
    backends, repository, log = folder / "backends", folder / "repository", folder / "triton.log"
    backends.mkdir()
    repository.mkdir()
    for backend in runtime.paths["backends"].iterdir():
        (backends / backend.name).symlink_to(backend)
    install_backend(backends)
    http, grpc, metrics = free_ports(3)  # Triton would share a taken one without a word
    env = {**os.environ, **runtime.env}
    if control is not None:
        env[CONTROL_VARIABLE] = str(control)
    argv = [
        str(runtime.executable),
        f"--model-repository={repository}",
        "--model-control-mode=explicit",
        f"--backend-directory={backends}",
        f"--backend-config=python,shm-region-prefix-name=tfbridge{http}",
        *(f"--{door}-address=127.0.0.1" for door in ("http", "grpc", "metrics")),
        *(f"--http-port={http}", f"--grpc-port={grpc}", f"--metrics-port={metrics}"),
        *options,
    ]
    with log.open("wb") as stream:
        process = subprocess.Popen(argv, stdout=stream, stderr=stream, start_new_session=True, env=env)
    triton = Triton(process, repository, log, http, grpc, metrics)
    try:
        until("tritonserver is live", START_SECONDS, triton.live, process)
    except AssertionError as err:
        process.kill()
        process.wait()
        raise AssertionError(f"{err}\n{log.read_text(errors='replace')[-3000:]}") from None
    return triton
