"""The same request at every door of a real fleet, and the answer in one shape."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import aiohttp
import numpy as np
import tritonclient.grpc.aio as grpcclient

from tests.e2e.conftest import RunningFleet

Event = Mapping[str, Any]


@dataclass(frozen=True)
class Answer:
    """What a door answered."""

    texts: tuple[str, ...]
    """One for each choice."""
    finish_reasons: tuple[str, ...]
    prompt_tokens: int
    answer_tokens: int
    """Of all choices together."""
    logprobs: tuple[tuple[str, float], ...] = ()
    """Token and log probability, rounded, of the first choice; where they were asked for."""


@dataclass(frozen=True)
class Doors:
    """Where a fleet can be asked."""

    fleet: RunningFleet

    @property
    def openai(self) -> str:
        """URL of the gateway."""
        return f"http://127.0.0.1:{self.fleet.openai}"

    def engine_socket(self, model: str) -> str:
        """Return the path of the socket of a model's engine."""
        status = next(entry for entry in self.fleet.status().models if entry.model == model)
        return status.replicas[0].endpoint.removeprefix("unix:")


#: Sends (doors, model, prompt, sampling parameters) and yields the pieces of the answer.
Door = Callable[[Doors, str, str, dict[str, Any]], AsyncGenerator[Event]]

_RETURN = ("return_finish_reason", "return_num_input_tokens", "return_num_output_tokens", "return_logprobs")


async def kserve_http(doors: Doors, model: str, prompt: str, sampling: dict[str, Any]) -> AsyncGenerator[Event]:
    """Ask Triton over HTTP."""
    stream = bool(sampling.get("stream"))
    body = {
        "text_input": prompt,
        "stream": stream,
        "exclude_input_in_output": True,
        "sampling_parameters": json.dumps(_without_stream(sampling)),
        **dict.fromkeys(_RETURN, True),
    }
    path = f"http://127.0.0.1:{doors.fleet.http}/v2/models/{model}/generate{'_stream' if stream else ''}"
    async with aiohttp.ClientSession() as session, session.post(path, json=body) as response:
        if stream:
            async with aclosing(_events(response)) as events:
                async for event in events:
                    yield _checked(event)
        else:
            yield _checked(await response.json())


async def kserve_grpc(doors: Doors, model: str, prompt: str, sampling: dict[str, Any]) -> AsyncGenerator[Event]:
    """Ask Triton over gRPC."""
    stream = bool(sampling.get("stream"))
    texts = {"text_input": prompt, "sampling_parameters": json.dumps(_without_stream(sampling))}
    flags = {"stream": stream, "exclude_input_in_output": True, **dict.fromkeys(_RETURN, True)}
    inputs = [_tensor(name, "BYTES", np.array([text.encode()], dtype=np.object_)) for name, text in texts.items()]
    inputs += [_tensor(name, "BOOL", np.array([flag])) for name, flag in flags.items()]

    async def requests() -> AsyncIterator[dict[str, Any]]:
        yield {"model_name": model, "inputs": inputs}

    async with grpcclient.InferenceServerClient(f"127.0.0.1:{doors.fleet.grpc}") as client:
        async for result, error in client.stream_infer(requests()):
            if error is not None:
                raise RuntimeError(str(error))
            names = [output.name for output in result.get_response().outputs]
            yield {name: _plain(result.as_numpy(name)) for name in names}


async def gateway(doors: Doors, model: str, prompt: str, sampling: dict[str, Any]) -> AsyncGenerator[Event]:
    """Ask the OpenAI door."""
    async with (
        aiohttp.ClientSession() as session,
        aclosing(_openai(session, doors.openai, model, prompt, sampling)) as all_,
    ):
        async for event in all_:
            yield event


async def engine(doors: Doors, model: str, prompt: str, sampling: dict[str, Any]) -> AsyncGenerator[Event]:
    """Ask the engine itself."""
    connector = aiohttp.UnixConnector(doors.engine_socket(model))
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        aclosing(_openai(session, "http://engine", model, prompt, sampling)) as events,
    ):
        async for event in events:
            yield event


KSERVE: dict[str, Door] = {"kserve http": kserve_http, "kserve grpc": kserve_grpc}
OPENAI: dict[str, Door] = {"gateway": gateway, "engine": engine}
ALL: dict[str, Door] = {**KSERVE, **OPENAI}


async def ask(name: str, doors: Doors, model: str, prompt: str, sampling: dict[str, Any]) -> Answer:
    """Ask the door called *name* and put its answer together."""
    events = [event async for event in ALL[name](doors, model, prompt, sampling)]
    return (_from_kserve if name in KSERVE else _from_openai)(events)


async def _openai(
    session: aiohttp.ClientSession, url: str, model: str, prompt: str, sampling: dict[str, Any]
) -> AsyncGenerator[Event]:
    body = {"model": model, "prompt": prompt, **sampling}
    if sampling.get("stream"):
        body["stream_options"] = {"include_usage": True}
    async with session.post(f"{url}/v1/completions", json=body) as response:
        if sampling.get("stream") and response.status == 200:
            async with aclosing(_events(response)) as events:
                async for event in events:
                    yield _checked(event)
        else:
            yield _checked(await response.json())


async def _events(response: aiohttp.ClientResponse) -> AsyncGenerator[Event]:
    async for line in response.content:
        data = line.decode().strip().removeprefix("data:").strip()
        if data and data != "[DONE]":
            yield json.loads(data)


def _from_kserve(events: list[Event]) -> Answer:
    texts: list[str] = []
    finish: list[str] = []
    entries: list[dict[str, Any]] = []
    answer_tokens = 0
    for event in events:
        pieces = _listed(event["text_output"])
        texts += [""] * (len(pieces) - len(texts))
        texts = [text + piece for text, piece in zip(texts, pieces, strict=True)]
        reasons = _listed(event["finish_reason"])
        finish += ["None"] * (len(reasons) - len(finish))
        finish = [new if new != "None" else old for old, new in zip(finish, reasons, strict=True)]
        answer_tokens += sum(int(count) for count in _listed(event["num_output_tokens"]))
        entries += json.loads(_listed(event["logprobs"])[0]) or []
    chosen = [next(entry for entry in token.values() if entry["rank"] == 1) for token in entries]
    return Answer(
        tuple(texts),
        tuple(finish),
        int(_listed(events[0]["num_input_tokens"])[0]),
        answer_tokens,
        tuple((entry["decoded_token"], round(entry["logprob"], 3)) for entry in chosen),
    )


def _from_openai(events: list[Event]) -> Answer:
    texts: dict[int, str] = {}
    finish: dict[int, str] = {}
    logprobs: list[tuple[str, float]] = []
    usage: dict[str, int] = {}
    for event in events:
        usage = event.get("usage") or usage
        for choice in event["choices"]:
            number = choice["index"]
            texts[number] = texts.get(number, "") + choice["text"]
            finish[number] = choice["finish_reason"] or finish.get(number, "")
            if number == 0 and choice.get("logprobs"):
                found = choice["logprobs"]
                logprobs += [(t, round(p, 3)) for t, p in zip(found["tokens"], found["token_logprobs"], strict=True)]
    order = sorted(texts)
    return Answer(
        tuple(texts[number] for number in order),
        tuple(finish[number] for number in order),
        usage["prompt_tokens"],
        usage["completion_tokens"],
        tuple(logprobs),
    )


def _checked(event: Any) -> Event:
    if "error" in event:
        raise RuntimeError(str(event["error"]))
    found: Event = event
    return found


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _plain(values: Any) -> list[Any]:
    return [value.decode() if isinstance(value, bytes) else value for value in values.reshape(-1).tolist()]


def _tensor(name: str, kind: str, values: Any) -> Any:
    tensor = grpcclient.InferInput(name, [1], kind)
    tensor.set_data_from_numpy(values)
    return tensor


def _without_stream(sampling: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in sampling.items() if name != "stream"}
