"""Model folders, an S3 server and a stand-in for the Hugging Face Hub, all inside the test process."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.sources import s3

TEMPLATE = "{{ bos_token }}[INST] {{ messages[0]['content'] }} [/INST]"


def model_files(*, weights: bytes = b"weights") -> dict[str, bytes]:
    """Return the files of a small model folder."""
    return {
        "config.json": b'{"architectures": ["LlamaForCausalLM"]}',
        "tokenizer_config.json": json.dumps(
            {"bos_token": "<s>", "eos_token": {"content": "</s>"}, "chat_template": TEMPLATE}
        ).encode(),
        "tokenizer.json": b"{}",
        "model.safetensors": weights,
    }


def write_files(folder: Path, files: dict[str, bytes]) -> Path:
    """Write *files* below *folder*."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    """A folder with a complete model."""
    return write_files(tmp_path / "model", model_files())


class FakeHub:
    """Speaks the part of the Hub's HTTP API that its client uses, from files in memory."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = model_files()
        self.repo = "org/name"
        self.commit = "a" * 40
        self.branches = ["main", "gptq-4bit"]
        self.error: tuple[int, str, str] | None = None
        """Answer to every question: status, X-Error-Code, message."""
        self.broken: set[str] = set()
        """Files whose download ends half-way."""
        self.requests: list[str] = []
        self.tokens: set[str | None] = set()
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                hub.answer(self)

            do_HEAD = do_GET  # noqa: N815 - the name that http.server looks for

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's signature
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()

    def downloads(self) -> list[str]:
        """Return the files that were fetched, in order."""
        return [line.rpartition("/")[2] for line in self.requests if line.startswith("GET") and "/resolve/" in line]

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        path = unquote(urlsplit(request.path).path)
        self.requests.append(f"{request.command} {path}")
        self.tokens.add(request.headers.get("Authorization"))
        if self.error is not None:
            status, code, message = self.error
            _send(request, status, b"{}", {"X-Error-Code": code, "X-Error-Message": message})
        elif path.startswith(f"/api/models/{self.repo}/tree/"):
            _send_json(request, self._tree())
        elif path == f"/api/models/{self.repo}/refs":
            refs = [{"name": name, "ref": f"refs/heads/{name}", "targetCommit": self.commit} for name in self.branches]
            _send_json(request, {"branches": refs, "tags": [], "converts": []})
        elif path.startswith(f"/api/models/{self.repo}"):
            self._info(request, path)
        elif path.startswith(f"/{self.repo}/resolve/{self.commit}/"):
            self._file(request, path.removeprefix(f"/{self.repo}/resolve/{self.commit}/"))
        else:
            _send(request, 404, b"{}", {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})

    def _info(self, request: BaseHTTPRequestHandler, path: str) -> None:
        revision = path.partition("/revision/")[2] or "main"
        if revision not in (*self.branches, self.commit):
            _send(request, 404, b"{}", {"X-Error-Code": "RevisionNotFound", "X-Error-Message": "no such revision"})
            return
        siblings = [{"rfilename": name, "size": len(content)} for name, content in self.files.items()]
        _send_json(request, {"id": self.repo, "sha": self.commit, "siblings": siblings, "private": False, "tags": []})

    def _tree(self) -> list[dict[str, object]]:
        return [
            {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
            for name, content in self.files.items()
        ]

    def _file(self, request: BaseHTTPRequestHandler, name: str) -> None:
        content = self.files[name]
        headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": self.commit}
        if name in self.broken and request.command == "GET":
            _send(request, 403, b"{}", {"X-Error-Message": "the storage is broken"})
            return
        _send(request, 200, content, headers)


def _send_json(request: BaseHTTPRequestHandler, value: object) -> None:
    _send(request, 200, json.dumps(value).encode(), {"Content-Type": "application/json"})


def _send(request: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str]) -> None:
    request.send_response(status)
    for name, value in {**headers, "Content-Length": str(len(body))}.items():
        request.send_header(name, value)
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(body)


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    """A Hub with one model, ``org/name``."""
    server = FakeHub()
    yield server
    server.close()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The URL of an S3 server in this process."""
    with s3.serve() as url:
        yield url


@pytest.fixture
def bucket(s3_server: str) -> s3.Bucket:
    """An empty bucket."""
    return s3.new_bucket(s3_server)
