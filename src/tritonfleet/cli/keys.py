"""What `tritonfleet key` shows and checks."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from rich.table import Column, Table

from tritonfleet.cli.context import FleetHome
from tritonfleet.errors import UsageError
from tritonfleet.gateway.keys import Key


def check_models(home: FleetHome, names: Sequence[str]) -> None:
    """Raise UsageError for a name that the fleet does not have, with the near match.

    A fleet with model repositories of its own may have more models than its file names.
    """
    if not names or home.spec_path is None:
        return
    spec = home.load()
    known = [name for model in spec.models for name in (model.name, *model.lora, *_full(model.name, model.lora))]
    for name in names:
        if name not in known and not spec.repository.include:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise UsageError(f"the fleet has no model {name!r}; {hint}it has: {', '.join(known)}")


def table(keys: Sequence[Key]) -> Table:
    """Return the keys as a table."""
    models = Column("models", overflow="fold", min_width=12)
    found = Table("name", "id", "key", models, "req/min", "tok/min", "priority", "admin", "created")
    for key in keys:
        found.add_row(
            key.name,
            key.id,
            f"{key.shown}...",
            ", ".join(key.models) or "all",
            _number(key.requests_per_minute),
            _number(key.tokens_per_minute),
            str(key.priority),
            "yes" if key.admin else "",
            key.created[: len("2026-01-31")],
        )
    return found


def _full(model: str, adapters: Sequence[str] | dict[str, str]) -> list[str]:
    return [f"{model}:{adapter}" for adapter in adapters]


def _number(limit: int | None) -> str:
    return "any" if limit is None else f"{limit:,}"
