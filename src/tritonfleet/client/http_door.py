"""Triton's HTTP door: KServe v2 and the generate extension, over aiohttp."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from tritonfleet.client.address import Address
from tritonfleet.client.events import EventSplitter
from tritonfleet.client.messages import EXTRA_OUTPUTS, Chunk, GenerateRequest, IndexEntry, ModelInfo
from tritonfleet.client.requests import check_inputs, sampling_json
from tritonfleet.errors import (
    ConnectionLost,
    RequestFailed,
    RequestRefused,
    RequestTimeout,
    UnknownModel,
    Unreachable,
)

#: Seconds for calls that only ask for information.
INFORMATION_SECONDS = 10.0


class HttpDoor:
    """A connection to Triton over HTTP; every method raises RequestFailed or one of its children, nothing else."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._base = f"{'https' if address.tls else 'http'}://{address.netloc}"
        # No limit on connections: how many requests run at once is the caller's choice.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=None)
        )

    async def close(self) -> None:
        """Close the connection."""
        await self._session.close()

    async def check_live(self) -> None:
        """Return if a live Triton answers."""
        async with self._call("GET", "/v2/health/live", INFORMATION_SECONDS):
            pass

    async def index(self) -> list[IndexEntry]:
        """Return Triton's repository index."""
        async with self._call("POST", "/v2/repository/index", INFORMATION_SECONDS) as response:
            models = await self._json(response)
        return [IndexEntry(item["name"], item.get("state", ""), item.get("reason", "")) for item in models]

    async def model_info(self, name: str) -> ModelInfo:
        """Return what the config of the loaded model *name* says; raise UnknownModel if it is not loaded."""
        async with self._call("GET", f"/v2/models/{name}/config", INFORMATION_SECONDS, model=name) as response:
            config = await self._json(response)
        parameters = {key: value.get("string_value", "") for key, value in config.get("parameters", {}).items()}
        return ModelInfo(name, frozenset(tensor["name"] for tensor in config.get("input", [])), parameters)

    async def stream(
        self, request: GenerateRequest, info: ModelInfo, timeout_seconds: float | None
    ) -> AsyncGenerator[Chunk, None]:
        """Yield the responses to *request*; Triton sees that the caller left only after the first of them."""
        body = generate_body(request, info)
        path = f"/v2/models/{request.model}/{'generate_stream' if request.stream else 'generate'}"
        async with self._call("POST", path, timeout_seconds, model=request.model, body=body) as response:
            if not request.stream:
                yield to_chunk(request.model, await response.read())
                return
            async for chunk in self._events(response, request.model, "return_finish_reason" in body):
                yield chunk

    async def _events(
        self, response: aiohttp.ClientResponse, model: str, tells_finish: bool
    ) -> AsyncGenerator[Chunk, None]:
        events = EventSplitter()
        finished = False
        async for data in response.content.iter_any():
            for event in events.feed(data):
                chunk = to_chunk(model, event)
                finished = any(chunk.finish_reasons)
                yield chunk
        if not events.complete or (tells_finish and not finished):
            raise ConnectionLost(f"{self._address} ended the stream before the answer was complete")

    @asynccontextmanager
    async def _call(
        self, method: str, path: str, timeout_seconds: float | None, *, model: str = "", body: Any = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request and translate what goes wrong until the caller is done with the response."""
        timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        try:
            async with self._session.request(method, self._base + path, json=body, timeout=timeout) as response:
                if response.status != 200:
                    raise refusal(self._address, model, response.status, await response.read())
                yield response
        except TimeoutError as err:
            if body is None:
                raise Unreachable(
                    f"{self._address} did not answer within {timeout_seconds:g} s; is it a Triton HTTP port?"
                ) from err
            raise RequestTimeout(
                f"no complete answer from model {model!r} within {timeout_seconds:g} s; give it longer with --timeout"
            ) from err
        except aiohttp.ClientError as err:
            raise _connection_error(self._address, err) from err

    async def _json(self, response: aiohttp.ClientResponse) -> Any:
        try:
            return json.loads(await response.read())
        except ValueError as err:
            raise Unreachable(f"{self._address} is no Triton server: its answer is not JSON") from err


def generate_body(request: GenerateRequest, info: ModelInfo) -> dict[str, Any]:
    """Return the body for ``/generate``; raise RequestRefused if the model has no text input."""
    check_inputs(info)
    extra = [name for name in ("exclude_input_in_output", *EXTRA_OUTPUTS) if name in info.inputs]
    return {
        "text_input": request.prompt,
        "stream": request.stream,
        "sampling_parameters": sampling_json(request),
        **dict.fromkeys(extra, True),
    }


def to_chunk(model: str, data: bytes) -> Chunk:
    """Return the chunk in a JSON response of the generate extension; raise RequestRefused for an error in it."""
    try:
        answer = json.loads(data)
    except ValueError as err:
        raise RequestRefused(f"model {model!r} sent a response that is not JSON: {data[:200]!r}") from err
    if not isinstance(answer, dict) or "error" in answer:
        text = answer["error"] if isinstance(answer, dict) else answer
        raise RequestRefused(f"model {model!r} refused the request: {text}")
    counted = answer.get("num_output_tokens")
    prompt_tokens = _elements(answer.get("num_input_tokens"))
    return Chunk(
        texts=tuple(str(text) for text in _elements(answer.get("text_output"))),
        output_tokens=None if counted is None else tuple(int(count) for count in _elements(counted)),
        input_tokens=int(prompt_tokens[0]) if prompt_tokens else None,
        finish_reasons=tuple(
            None if text in ("", "None") else str(text) for text in _elements(answer.get("finish_reason"))
        ),
    )


def _elements(value: Any) -> list[Any]:
    """Triton writes a tensor of one element as a scalar."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def refusal(address: Address, model: str, status: int, body: bytes) -> RequestFailed:
    """Return our error for an answer that is not 200; generate_stream wraps its JSON in an event."""
    try:
        answer = json.loads(body.removeprefix(b"data:"))
    except ValueError:
        answer = None
    if not isinstance(answer, Mapping) or "error" not in answer:
        text = body[:200].decode(errors="replace").strip() or "no reason given"
        if model:
            return RequestRefused(f"{address} answered {status} for model {model!r}: {text}")
        return Unreachable(f"{address} answered {status}; is it Triton's HTTP port? ({text})")
    text = str(answer["error"])
    if status == 404 or "unknown model" in text.lower():
        return UnknownModel(text)
    return RequestRefused(f"{f'model {model!r}' if model else 'Triton'} refused the request ({status}): {text}")


def _connection_error(address: Address, err: aiohttp.ClientError) -> RequestFailed:
    if isinstance(err, aiohttp.ClientConnectorError):
        return Unreachable(
            f"nothing answers at {address} ({err.os_error.strerror or err.os_error}); start a fleet with "
            "`tritonfleet up`, or name its address with --url"
        )
    if isinstance(err, aiohttp.ClientResponseError):
        return Unreachable(f"{address} does not speak HTTP; drop --http, or give Triton's HTTP port (8000)")
    return ConnectionLost(f"{address} went away before the answer was complete ({str(err) or type(err).__name__})")
