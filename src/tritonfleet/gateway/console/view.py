"""What a caller gets to see of the fleet, and what it may do. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tritonfleet.gateway.admin import is_local, names_this_machine
from tritonfleet.gateway.keys import Caller
from tritonfleet.gateway.problem import Problem

ACTIONS = ("load", "unload", "sleep", "wake")
#: Logs that are of no one model.
SHARED_LOGS = ("supervisor", "triton", "gateway")


@dataclass(frozen=True)
class Rights:
    """What a request may see and do."""

    models: frozenset[str] | None
    """Models that it may see; None: all, and the fleet's memory."""
    admin: bool
    """Whether it may load and unload models."""
    logs: bool
    """Whether it may read logs, which hold more than names and numbers."""

    def may_see(self, model: str) -> bool:
        """Say whether the model is shown."""
        return self.models is None or model in self.models


def rights_of(caller: Caller, scope: Mapping[str, Any], *, keys_required: bool) -> Rights:
    """Return the rights of a request; raise Problem (403) for one that may come from another site's page."""
    if not (keys_required or caller.admin):
        host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
        if not names_this_machine(host):
            raise Problem(
                403,
                "unknown_host",
                f"without API keys the console answers at an address or localhost only, not at {host[:200]!r}; "
                "make a key with `tritonfleet key create NAME --admin`",
            )
    local = is_local(dict(scope))
    return Rights(caller.models, caller.admin, caller.admin or (local and not keys_required))


def live(
    status: Mapping[str, Any], history: Mapping[str, Any], rights: Rights, *, keys_required: bool
) -> dict[str, Any]:
    """Return the state of the fleet and the newest samples, with the models that may be seen."""
    return {
        "you": {"admin": rights.admin, "logs": rights.logs, "keys_required": keys_required},
        "status": {
            **status,
            "models": [model for model in status["models"] if rights.may_see(model["model"])],
            "shares": _shares(status.get("shares", ()), rights),
        },
        "history": {
            "times": history["times"],
            "models": {name: columns for name, columns in history["models"].items() if rights.may_see(name)},
        },
    }


def _shares(groups: Sequence[Mapping[str, Any]], rights: Rights) -> list[dict[str, Any]]:
    """Return the share groups with the members that may be seen, without groups of none."""
    shown = [
        {**group, "members": [member for member in group["members"] if rights.may_see(member["model"])]}
        for group in groups
    ]
    return [group for group in shown if group["members"]]


def check_logs(rights: Rights) -> None:
    """Raise Problem (403) if logs may not be read."""
    if not rights.logs:
        raise Problem(
            403,
            "admin_needed",
            "logs are for admin keys, and without keys for this machine; make one with "
            "`tritonfleet key create NAME --admin`, or open the address that `tritonfleet console` prints",
        )


def check_memory(rights: Rights) -> None:
    """Raise Problem (403) if the whole fleet's memory may not be seen."""
    if rights.models is not None:
        raise Problem(403, "model_not_allowed", "this key is for some models only; the memory map shows all of them")


def check_action(rights: Rights, action: str) -> None:
    """Raise Problem if *action* is none (404), or not allowed (403)."""
    if action not in ACTIONS:
        raise Problem(404, "unknown_path", f"there is no action {action!r}; there are: {', '.join(ACTIONS)}")
    if not rights.admin:
        raise Problem(
            403,
            "admin_needed",
            f"to {action} a model takes an admin key; make one with `tritonfleet key create NAME --admin`, "
            "or open the address that `tritonfleet console` prints",
        )
