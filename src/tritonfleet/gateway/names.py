"""Which model a name in a request means. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from tritonfleet.gateway.problem import Problem
from tritonfleet.wire import LAST_WORDS, Route

#: Seconds after which a client may try again a model that is starting.
STARTING_SECONDS = 5.0
#: A model in one of these comes to no engine by itself.
_FINAL_STATES = ("failed", "stopped")


@dataclass(frozen=True)
class Target:
    """A model, or an adapter on it, as a request named it."""

    route: Route
    engine_name: str
    """What the engine expects in the ``model`` field."""
    adapter: bool = False
    """Whether it is a LoRA adapter."""


class Names:
    """All names of a fleet's models and adapters."""

    def __init__(self, routes: Iterable[Route] = ()) -> None:
        self.routes = tuple(routes)
        self._targets: dict[str, Target] = {}
        self._ambiguous: dict[str, list[str]] = {}
        for route in self.routes:
            for adapter in route.loras:
                self._add_adapter(route, adapter)
        for route in self.routes:  # a model's own name wins over an adapter's
            self._ambiguous.pop(route.model, None)
            self._targets[route.model] = Target(route, route.served_name)

    def _add_adapter(self, route: Route, adapter: str) -> None:
        full = f"{route.model}:{adapter}"
        self._targets[full] = Target(route, adapter, adapter=True)
        others = self._ambiguous.setdefault(adapter, [])
        others.append(full)
        if len(others) == 1:
            self._targets[adapter] = Target(route, adapter, adapter=True)
        else:
            self._targets.pop(adapter, None)

    def find(self, asked: str, allowed: Collection[str] | None = None, *, holds: bool = False) -> Target:
        """Return what *asked* means; *allowed* holds the models that the caller may use (None: all).

        Raises Problem: 404 naming the models, the nearest first; 403 where the key does not reach; 503 with the
        reason while none of its engines serves, unless the caller *holds* requests and an engine may still come.
        """
        target = self._targets.get(asked)
        if target is None:
            raise self._unknown(asked, allowed)
        if not may_use(target, asked, allowed):
            raise Problem(
                403,
                "model_not_allowed",
                f"this API key may not use {asked!r}; it may use: {', '.join(sorted(allowed or ()))}",
                param="model",
            )
        if not target.route.endpoints and not (holds and target.route.state not in _FINAL_STATES):
            raise _not_ready(target.route)
        return target

    def listed(self, allowed: Collection[str] | None = None) -> dict[str, Target]:
        """Return every name that serves now and may be used, in order."""
        return {
            name: target
            for name, target in sorted(self._targets.items())
            if target.route.endpoints and may_use(target, name, allowed)
        }

    def known(self, allowed: Collection[str] | None = None) -> list[str]:
        """Return every name that may be used, whether it serves now or not."""
        return sorted(name for name, target in self._targets.items() if may_use(target, name, allowed))

    def missing(self, allowed: Collection[str] | None) -> Problem:
        """Return the error for a request without a model."""
        names = ", ".join(self.known(allowed)) or "none yet"
        return Problem(400, "missing_model", f"`model` is missing; the fleet has: {names}", param="model")

    def _unknown(self, asked: str, allowed: Collection[str] | None) -> Problem:
        names = self.known(allowed)
        near = difflib.get_close_matches(asked, names, n=3, cutoff=0.5)
        others = [name for name in names if name not in near]
        hint = f"; did you mean {near[0]!r}?" if near else ""
        if asked in self._ambiguous:
            hint = f"; several models have an adapter of this name, write {' or '.join(self._ambiguous[asked])}"
        text = (
            f"the model {asked[:100]!r} does not exist{hint} (the fleet has: {', '.join([*near, *others]) or 'none'})"
        )
        return Problem(404, "model_not_found", text, param="model")


def may_use(target: Target, name: str, allowed: Collection[str] | None) -> bool:
    """Whether *allowed* holds the name itself or the model below it."""
    return allowed is None or name in allowed or target.route.model in allowed or target.engine_name in allowed


def _not_ready(route: Route) -> Problem:
    reason = f": {route.reason.splitlines()[0].partition(LAST_WORDS)[0]}" if route.reason else ""
    final = route.state in _FINAL_STATES
    what_next = {
        "failed": "see `tritonfleet logs`",
        "stopped": "load it through Triton's repository API",
    }.get(route.state, "try again in a few seconds")
    return Problem(
        503,
        "model_not_ready",
        f"the model {route.model!r} is {route.state}{reason}; {what_next}",
        src="engine",
        retry_after_seconds=None if final else STARTING_SECONDS,
    )
