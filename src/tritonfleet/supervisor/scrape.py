"""Read the /metrics pages of a fleet's processes: side by side, each with a deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import aiohttp

from tritonfleet.engines.base import Call
from tritonfleet.metrics.merge import Changes, Family, Malformed, Reader
from tritonfleet.metrics.names import older_in
from tritonfleet.supervisor.probe import EngineHttp

#: A page that is not there by then is left out.
SECONDS = 1.0


class Unreadable(Exception):
    """A process did not tell its metrics; the message says why."""


@dataclass(frozen=True)
class Target:
    """A process with a page."""

    key: Hashable
    """The same for the same process in every round."""
    http: EngineHttp
    call: Call
    changes: Changes
    may_be_silent: bool = False
    """Whether it is nothing to speak of when it cannot be read."""


class Scraper:
    """Reads pages, and remembers what they look like."""

    def __init__(self) -> None:
        self._readers: dict[Hashable, tuple[Changes, Reader]] = {}

    async def read(self, targets: Sequence[Target]) -> list[list[Family] | Unreadable]:
        """Return every target's families; one that cannot be read in time is an Unreadable in its place."""
        pages = await asyncio.gather(*(_page(target) for target in targets))
        keys = {target.key for target in targets}
        self._readers = {key: kept for key, kept in self._readers.items() if key in keys}
        return [
            page if isinstance(page, Unreadable) else self._families(page, target)
            for page, target in zip(pages, targets, strict=True)
        ]

    def _families(self, page: str, target: Target) -> list[Family] | Unreadable:
        changes = target.changes
        older = older_in(page)
        if older:
            changes = replace(changes, renamed={**changes.renamed, **older})
        known, reader = self._readers.get(target.key, (None, None))
        if reader is None or known != changes:
            reader = Reader(changes)
            self._readers[target.key] = (changes, reader)
        try:
            return reader.read(page)
        except Malformed as err:
            return Unreadable(f"its page is not in Prometheus' text format: {err}")


async def _page(target: Target) -> str | Unreadable:
    try:
        status, text = await target.http.send(target.call, SECONDS)
    except TimeoutError:
        return Unreadable(f"no answer within {SECONDS:g} s")
    except (aiohttp.ClientError, OSError, UnicodeDecodeError) as err:
        return Unreadable(f"no answer: {err}")
    return text if status == 200 else Unreadable(f"it answered {target.call.path} with status {status}")
