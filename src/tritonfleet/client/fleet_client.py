"""The asyncio client of a fleet's KServe doors."""

from __future__ import annotations

import difflib
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from types import TracebackType
from typing import Protocol, Self

from tritonfleet.client.address import Address, parse_address
from tritonfleet.client.generation import Generation, Recorder
from tritonfleet.client.messages import Chunk, GenerateRequest, IndexEntry, ModelInfo
from tritonfleet.errors import RequestFailed, UnknownModel

#: A killed Triton stub leaves its requests without an answer for ever, so there is a deadline unless told otherwise.
DEFAULT_TIMEOUT_SECONDS = 600.0


class Door(Protocol):
    """What the client needs of a protocol; every method raises RequestFailed or one of its children, nothing else."""

    async def close(self) -> None:
        """Close the connection."""

    async def check_live(self) -> None:
        """Return if a live Triton answers."""

    async def index(self) -> list[IndexEntry]:
        """Return Triton's repository index."""
        ...

    async def model_info(self, name: str) -> ModelInfo:
        """Return what the config of the loaded model *name* says."""
        ...

    def stream(
        self, request: GenerateRequest, info: ModelInfo, timeout_seconds: float | None
    ) -> AsyncGenerator[Chunk, None]:
        """Yield the responses to *request*, which only asks for what *info* says the model has."""
        ...


class FleetClient:
    """Sends prompts to the models behind one Triton; use it with ``async with``.

    *address* is ``HOST:PORT`` (gRPC), ``http://HOST:PORT`` or an Address. *timeout_seconds* bounds each request from
    send to last response; None waits for ever.
    """

    def __init__(self, address: Address | str, *, timeout_seconds: float | None = DEFAULT_TIMEOUT_SECONDS) -> None:
        self.address = parse_address(address) if isinstance(address, str) else address
        self._timeout_seconds = timeout_seconds
        self._infos: dict[str, ModelInfo] = {}
        self._opened: Door | None = None

    async def __aenter__(self) -> Self:
        self._opened = _open(self.address)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._door.close()

    @property
    def _door(self) -> Door:
        assert self._opened is not None, "use FleetClient with `async with`"
        return self._opened

    async def check_live(self) -> None:
        """Return if a live Triton answers; raise Unreachable otherwise."""
        await self._door.check_live()

    async def models(self) -> list[IndexEntry]:
        """Return every model of Triton's repository with its state."""
        return await self._door.index()

    async def model_info(self, name: str) -> ModelInfo:
        """Return what the config of *name* says, asking once; raise UnknownModel naming those that are loaded."""
        if name not in self._infos:
            try:
                self._infos[name] = await self._door.model_info(name)
            except UnknownModel as err:
                raise UnknownModel(await self._explain_unknown(name, str(err))) from err
        return self._infos[name]

    async def stream(self, request: GenerateRequest) -> AsyncGenerator[Chunk, None]:
        """Yield the model's responses as they come; leaving the loop early cancels the request."""
        info = await self.model_info(request.model)
        async with aclosing(self._door.stream(request, info, self._timeout_seconds)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def generate(self, request: GenerateRequest) -> Generation:
        """Return the whole answer with its times; raise RequestFailed or one of its children."""
        generation, error = await self.attempt(request)
        if error is not None:
            raise error
        return generation

    async def attempt(self, request: GenerateRequest) -> tuple[Generation, RequestFailed | None]:
        """Return what came of *request*, complete or not, and what went wrong if it did."""
        info = await self.model_info(request.model)  # not part of the request's time
        recorder = Recorder(time.perf_counter(), request.stream)
        try:
            async with aclosing(self._door.stream(request, info, self._timeout_seconds)) as chunks:
                async for chunk in chunks:
                    recorder.add(chunk, time.perf_counter())
        except RequestFailed as err:
            return recorder.finish(time.perf_counter()), err
        return recorder.finish(time.perf_counter()), None

    async def _explain_unknown(self, name: str, answer: str) -> str:
        try:
            entries = await self.models()
        except RequestFailed:
            return answer
        return explain_unknown(name, str(self.address), entries)


def explain_unknown(name: str, address: str, entries: list[IndexEntry]) -> str:
    """Say why *name* is not served, from Triton's index: not loaded, or mistyped."""
    found = next((entry for entry in entries if entry.name == name), None)
    ready = sorted({entry.name for entry in entries if entry.state == "READY"})
    if found is not None and found.state != "READY":
        why = f"{found.state.lower() or 'never loaded'}{f': {found.reason}' if found.reason else ''}"
        return (
            f"model {name!r} at {address} is not ready ({why}); see `tritonfleet status`, or load it with "
            f"POST /v2/repository/models/{name}/load"
        )
    near = difflib.get_close_matches(name, ready, n=1, cutoff=0.5)
    hint = f" did you mean {near[0]!r}?" if near else ""
    return f"no model {name!r} at {address};{hint} loaded models: {', '.join(ready) or 'none'}"


def _open(address: Address) -> Door:
    """Import a protocol's library only when it is used."""
    if address.protocol == "grpc":
        from tritonfleet.client.grpc_door import GrpcDoor

        return GrpcDoor(address)
    from tritonfleet.client.http_door import HttpDoor

    return HttpDoor(address)
