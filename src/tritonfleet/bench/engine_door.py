"""The engine's own OpenAI server as a door, measured by the same means as Triton's doors."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import aiohttp
import msgspec

from tritonfleet.client.events import EventSplitter
from tritonfleet.client.messages import Chunk, GenerateRequest, ModelInfo
from tritonfleet.errors import ConnectionLost, RequestFailed, RequestRefused, RequestTimeout, Unreachable
from tritonfleet.wire import Endpoint

#: Less than the 5 s after which vLLM's server closes an idle connection, so that none is used while it closes.
KEEPALIVE_SECONDS = 3.0


class EngineDoor:
    """A connection to ``/v1/completions`` of one engine; raises RequestFailed or one of its children, nothing else."""

    def __init__(self, endpoint: Endpoint, *, api_key: str | None = None) -> None:
        self._endpoint = endpoint
        connector = (
            aiohttp.UnixConnector(endpoint.uds, limit=0, keepalive_timeout=KEEPALIVE_SECONDS)
            if endpoint.uds
            else aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_SECONDS)
        )
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=aiohttp.ClientTimeout(total=None), headers=headers
        )

    async def close(self) -> None:
        """Close the connection."""
        await self._session.close()

    async def served_name(self) -> str:
        """Return the name that requests to the engine carry; raise Unreachable if it does not tell."""
        try:
            return str((await self._get("/v1/models"))["data"][0]["id"])
        except LookupError as err:
            raise Unreachable(f"the engine at {self._endpoint} serves no model") from err

    async def version(self) -> str:
        """Return the engine's version as vLLM tells it."""
        return f"vLLM {(await self._get('/version')).get('version', 'unknown')}"

    async def _get(self, path: str) -> Any:
        try:
            url = self._endpoint.base_url + path
            async with self._session.get(url, timeout=aiohttp.ClientTimeout(total=10)) as response:
                return await response.json()
        except (aiohttp.ClientError, TimeoutError, ValueError) as err:
            raise Unreachable(
                f"no OpenAI server answers at {self._endpoint} ({str(err) or type(err).__name__})"
            ) from err

    async def stream(
        self, request: GenerateRequest, info: ModelInfo, timeout_seconds: float | None
    ) -> AsyncGenerator[Chunk, None]:
        """Yield the engine's chunks; the last one holds the count of all tokens."""
        body = completion_body(request)
        timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        events = EventSplitter()
        try:
            url = f"{self._endpoint.base_url}/v1/completions"
            async with self._session.post(url, json=body, timeout=timeout) as response:
                if response.status != 200:
                    raise RequestRefused(f"the engine answered {response.status}: {(await response.text())[:500]}")
                async for data in response.content.iter_any():
                    for event in events.feed(data):
                        if event == b"[DONE]":
                            return
                        yield to_chunk(event)
        except (aiohttp.ClientError, TimeoutError) as err:
            raise self._failure(err) from err
        raise ConnectionLost(f"the engine at {self._endpoint} ended the stream before the answer was complete")

    def _failure(self, err: Exception) -> RequestFailed:
        if isinstance(err, aiohttp.ClientConnectorError):
            return Unreachable(f"nothing answers at {self._endpoint} ({err})")
        if isinstance(err, TimeoutError):
            return RequestTimeout(f"no complete answer from the engine at {self._endpoint} in time")
        return ConnectionLost(f"the engine at {self._endpoint} went away before the answer was complete ({err})")


def completion_body(request: GenerateRequest) -> dict[str, Any]:
    """Return the body for ``/v1/completions``."""
    return {
        "model": request.model,
        "prompt": request.prompt,
        "stream": True,
        "stream_options": {"include_usage": True},
        **request.sampling,
    }


def to_chunk(event: bytes) -> Chunk:
    """Return the chunk in an event of the OpenAI API; raise RequestRefused for an error in it."""
    data = msgspec.json.decode(event)
    if "error" in data:
        raise RequestRefused(f"the engine refused the request: {data['error']}")
    usage = data.get("usage")
    return Chunk(
        texts=tuple(choice["text"] for choice in data["choices"]),
        output_tokens=None if usage is None else (usage["completion_tokens"],),
        input_tokens=None if usage is None else usage["prompt_tokens"],
        finish_reasons=tuple(choice.get("finish_reason") for choice in data["choices"]),
    )
