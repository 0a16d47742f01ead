"""Sampling parameters from a command line. Pure."""

from __future__ import annotations

import json
from typing import Any

from tritonfleet.errors import UsageError


def build_sampling(text: str | None, **options: Any) -> dict[str, Any]:
    """Return *options* that are set, overridden by the JSON object in *text*; raise UsageError if it is not one."""
    chosen = {name: value for name, value in options.items() if value is not None}
    if text is None:
        return chosen
    try:
        further = json.loads(text)
    except ValueError as err:
        raise UsageError(f"--sampling {text!r} is not JSON: {err}") from err
    if not isinstance(further, dict):
        raise UsageError(f'--sampling {text!r} is not a JSON object; write for example \'{{"stop": ["END"]}}\'')
    return {**chosen, **further}
