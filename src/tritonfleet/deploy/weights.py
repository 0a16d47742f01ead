"""Weights from the Hub into the fleet's bucket, once; pods then read them from there.

The copy runs as a Job with the one role that may write. A marker goes last, so pods that wait for it never see half a
model. Started by the image: ``python -m tritonfleet.deploy.weights copy|wait FILE``.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tritonfleet.errors import EngineFailed, FleetError, UsageError
from tritonfleet.layout import cache_folder
from tritonfleet.progress import Progress, TerminalProgress, silent
from tritonfleet.repository import Push
from tritonfleet.sources import Want, resolve_source
from tritonfleet.sources.objects import ObjectStore, parse_address

log = logging.getLogger(__name__)

#: Object that says that everything else under its prefix is there.
MARKER = "tritonfleet-copied.json"
#: Time between two looks for a marker.
LOOK_SECONDS = 10.0

Environ = Mapping[str, str]


@dataclass(frozen=True)
class Weights:
    """One model or adapter."""

    name: str
    source: str
    """Where it comes from: hf://..."""
    target: str
    """Its place in the bucket."""
    want: Want = "model"


def read_table(path: Path) -> tuple[Weights, ...]:
    """Return the entries of the file *path*; raise UsageError if it is no such file."""
    try:
        return tuple(Weights(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))["weights"])
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise UsageError(f"{path} does not tell which weights to copy: {err}") from err


def is_copied(entry: Weights, environ: Environ) -> bool:
    """Whether the whole of *entry* is in the bucket."""
    return MARKER in ObjectStore(parse_address(entry.target), environ).listing()


def copy(entry: Weights, *, cache: Path, environ: Environ, progress: Progress = silent) -> bool:
    """Copy *entry* into the bucket unless it is there; return whether it was copied. Raises SourceError."""
    store = ObjectStore(parse_address(entry.target), environ)
    if MARKER in store.listing():
        return False
    found = resolve_source(
        entry.source, base=Path("/"), cache=cache, environ=environ, progress=progress, want=entry.want
    )
    if found.path.is_dir():
        Push(found.path, store).run(progress, delete=False)
    else:  # one .gguf file
        store.upload(found.path, found.path.name, lambda _: None)
    store.write(MARKER, json.dumps({"source": entry.source, "revision": found.revision}).encode())
    return True


def copy_all(entries: Sequence[Weights], *, cache: Path, environ: Environ, progress: Progress = silent) -> None:
    """Copy every entry; the local copies of one are gone before the next comes. Raises SourceError."""
    cache.mkdir(parents=True, exist_ok=True)
    for entry in entries:
        # A disk for the largest model is enough that way.
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            hub = {**environ, "HF_HOME": folder, "HF_HUB_CACHE": str(Path(folder) / "hub")}
            copied = copy(entry, cache=Path(folder), environ=hub, progress=progress)
        log.info("%s: %s at %s", entry.name, "copied" if copied else "is already", entry.target)


def wait(
    entries: Sequence[Weights], *, environ: Environ, seconds: float, pause: Callable[[float], None] = time.sleep
) -> None:
    """Return once every entry is in the bucket; raise EngineFailed after *seconds*."""
    deadline = time.monotonic() + seconds
    for entry in entries:
        told = False
        while not is_copied(entry, environ):
            if time.monotonic() > deadline:
                raise EngineFailed(
                    f"{entry.name}: its weights are not at {entry.target} after {seconds:g} s; the log of the Job that "
                    "copies them tells why: kubectl logs -l app.kubernetes.io/component=model-copy"
                )
            if not told:
                log.info("%s: waiting for its weights at %s", entry.name, entry.target)
                told = True
            pause(LOOK_SECONDS)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tritonfleet.deploy.weights", description=__doc__)
    parser.add_argument("verb", choices=("copy", "wait"))
    parser.add_argument("table", type=Path, help="JSON: what is copied from where to where")
    parser.add_argument("--seconds", type=float, default=3600.0, help="longest wait")
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s weights %(levelname)s %(message)s")
    environ = dict(os.environ)
    try:
        entries = read_table(options.table)
        if options.verb == "wait":
            wait(entries, environ=environ, seconds=options.seconds)
        else:
            with TerminalProgress() as progress:
                copy_all(entries, cache=cache_folder(environ), environ=environ, progress=progress)
    except FleetError as err:
        print(f"error: {err}", file=sys.stderr)  # noqa: T201 - its log
        return err.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
