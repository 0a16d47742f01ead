"""JSON for the hot path: orjson where the stub's environment has it, else the standard library."""

from __future__ import annotations

import json
from typing import Any

try:
    import orjson
except ImportError:  # an NGC container has no reason to carry orjson

    def loads(data: bytes | str) -> Any:
        """Return the value of a JSON text; raise ValueError if it is none."""
        return json.loads(data, parse_constant=_refuse)

    def dumps(value: Any) -> bytes:
        """Return *value* as UTF-8 JSON."""
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()

else:

    def loads(data: bytes | str) -> Any:
        """Return the value of a JSON text; raise ValueError if it is none."""
        return orjson.loads(data)

    def dumps(value: Any) -> bytes:
        """Return *value* as UTF-8 JSON."""
        return bytes(orjson.dumps(value))


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
