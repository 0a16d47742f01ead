"""Request traces: JSON lines of when which model is asked for how much; read, written, and made with a seed."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tritonfleet.errors import UsageError


@dataclass(frozen=True)
class Request:
    """One request of a trace."""

    arrival_seconds: float
    """Since the start of the trace."""
    model: str
    prompt_tokens: int
    output_tokens: int


@dataclass(frozen=True)
class Shape:
    """What a made trace looks like: Poisson arrivals, and a favourite model that moves on after a while."""

    models: tuple[str, ...]
    seconds: float = 120.0
    rate: float = 2.0
    """Requests per second, all models together."""
    shift_seconds: float = 30.0
    """Time after which the next model is the favourite."""
    favourite: float = 0.7
    """Part of the requests that go to the favourite; the others share the rest."""
    prompt_tokens: int = 256
    output_tokens: int = 64
    spread: float = 0.5
    """Lengths lie evenly between (1 - spread) and (1 + spread) times the mean."""


def generate(shape: Shape, seed: int) -> tuple[Request, ...]:
    """Return a trace of *shape*; the same seed gives the same trace.

    Raises UsageError for a shape that is none: no models, a rate or time that is not above 0, parts outside 0 to 1.
    """
    _check(shape)
    chance = random.Random(seed)  # noqa: S311 - a repeatable load, no secret
    requests = []
    now = chance.expovariate(shape.rate)
    while now < shape.seconds:
        requests.append(
            Request(
                round(now, 4),
                _model(shape, now, chance),
                _length(shape.prompt_tokens, shape.spread, chance),
                _length(shape.output_tokens, shape.spread, chance),
            )
        )
        now += chance.expovariate(shape.rate)
    return tuple(requests)


def read_trace(path: Path) -> tuple[Request, ...]:
    """Return the requests in *path*, the first arrival first; raise UsageError naming the line that is wrong."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as err:
        raise UsageError(f"{path} cannot be read: {err}") from err
    requests = [_parse(path, number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not requests:
        raise UsageError(f"{path} holds no request; `tritonfleet trace` makes a trace")
    return tuple(sorted(requests, key=lambda request: request.arrival_seconds))


def trace_text(requests: Iterable[Request]) -> str:
    """Return *requests* as JSON lines."""
    return "".join(json.dumps(asdict(request)) + "\n" for request in requests)


def models_of(requests: Iterable[Request]) -> tuple[str, ...]:
    """Return the models that are asked, in the order of their first request."""
    return tuple(dict.fromkeys(request.model for request in requests))


def _parse(path: Path, number: int, line: str) -> Request:
    where = f"{path}:{number}"
    try:
        data = json.loads(line)
    except ValueError as err:
        raise UsageError(f"{where}: this is not JSON ({err}); each line holds one request") from err
    if not isinstance(data, dict):
        raise UsageError(f"{where}: this is no JSON object; each line holds one request")
    known = list(Request.__dataclass_fields__)
    if missing := [key for key in known if key not in data]:
        raise UsageError(f"{where}: {missing[0]} is missing; a request has {', '.join(known)}")
    arrival, model = data["arrival_seconds"], data["model"]
    if not _is_number(arrival) or not math.isfinite(arrival) or arrival < 0:
        raise UsageError(f"{where}: arrival_seconds is {arrival!r}; write seconds since the start, 0 or more")
    if not isinstance(model, str) or not model:
        raise UsageError(f"{where}: model is {model!r}; write the name of a model of the fleet")
    return Request(float(arrival), model, _tokens(where, data, "prompt_tokens"), _tokens(where, data, "output_tokens"))


def _tokens(where: str, data: dict[str, object], key: str) -> int:
    value = data[key]
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UsageError(f"{where}: {key} is {value!r}; write a number of tokens, 1 or more")
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _model(shape: Shape, now: float, chance: random.Random) -> str:
    favourite = shape.models[int(now / shape.shift_seconds) % len(shape.models)]
    others = [model for model in shape.models if model != favourite]
    return favourite if not others or chance.random() < shape.favourite else chance.choice(others)


def _length(mean: int, spread: float, chance: random.Random) -> int:
    return max(1, round(chance.uniform(1 - spread, 1 + spread) * mean))


def _check(shape: Shape) -> None:
    if not shape.models:
        raise UsageError("a trace needs models; name some")
    for name in ("seconds", "rate", "shift_seconds", "prompt_tokens", "output_tokens"):
        if not getattr(shape, name) > 0:
            raise UsageError(f"{name} is {getattr(shape, name)}; write a number above 0")
    for name in ("favourite", "spread"):
        if not 0 <= getattr(shape, name) <= 1:
            raise UsageError(f"{name} is {getattr(shape, name)}; write a part, 0 to 1")


def arrivals_by_model(requests: Sequence[Request]) -> dict[str, int]:
    """Return how many requests each model gets."""
    return {model: sum(request.model == model for request in requests) for model in models_of(requests)}
