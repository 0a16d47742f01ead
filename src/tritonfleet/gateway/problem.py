"""Every error body of the gateway: OpenAI's shape, with ``src`` saying who failed."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Literal

import msgspec

from tritonfleet.errors import FleetError

Source = Literal["gateway", "engine"]

#: OpenAI's error types; Anthropic's are the same words but for these.
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    501: "not_implemented_error",
    503: "overloaded_error",
    504: "timeout_error",
}
#: What FastAPI (vLLM, SGLang, TensorRT-LLM), llama.cpp and aiohttp say of a path they do not have.
_MISSING_PATH = frozenset({"not found", "file not found", "method not allowed"})
_encode = msgspec.json.Encoder().encode


class Problem(FleetError):
    """A request that the gateway answers with an error."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        src: Source = "gateway",
        param: str | None = None,
        retry_after_seconds: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.src = src
        self.param = param
        self.headers = dict(headers or {})
        if retry_after_seconds is not None:
            self.headers["retry-after"] = str(max(1, round(retry_after_seconds)))

    @property
    def error(self) -> dict[str, Any]:
        """The ``error`` object."""
        return {
            "message": str(self),
            "type": error_type(self.status),
            "param": self.param,
            "code": self.code,
            "src": self.src,
        }


def error_type(status: int) -> str:
    """Return the ``type`` that goes with an HTTP status."""
    return _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")


def body(error: Mapping[str, Any]) -> bytes:
    """Return an error body; ``type`` at the top is for Anthropic's clients, OpenAI's ignore it."""
    return _encode({"type": "error", "error": error})


def event(error: Mapping[str, Any]) -> bytes:
    """Return the error as a server-sent event, for an answer that has begun already."""
    return b"event: error\ndata: " + body(error) + b"\n\n"


def engine_error(status: int, raw: bytes) -> dict[str, Any]:
    """Return the ``error`` object of an engine's error body, whatever its shape, marked with ``src: engine``."""
    error = _decode(raw)
    if "detail" in error and "message" not in error:
        error = {"message": _text(error.pop("detail")), **error}
    error.setdefault("message", raw.decode("utf-8", "replace").strip()[:2000] or _phrase(status))
    error.setdefault("type", error_type(status))
    error.setdefault("param", None)
    error.setdefault("code", status)
    return {**error, "src": "engine"}


def is_missing_path(status: int, message: str) -> bool:
    """Whether an engine's error says that it has no such path, rather than no such model."""
    return status in (404, 405) and message.lower().removeprefix(f"{status}: ") in _MISSING_PATH


def _decode(raw: bytes) -> dict[str, Any]:
    try:
        data = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return {}
    if not isinstance(data, dict):
        return {}
    inner = data.get("error", data)
    return dict(inner) if isinstance(inner, dict) else {"message": str(inner)}


def _text(detail: object) -> str:
    return detail if isinstance(detail, str) else _encode(detail).decode()


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"status {status}"
