"""Which fleet a command means: its spec, its folders, the client of its supervisor."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tritonfleet.errors import UsageError
from tritonfleet.layout import Layout, cache_folder, layout, state_base

if TYPE_CHECKING:  # imported when they are used: the models of a spec take as long as the rest of the command line
    from tritonfleet.control_client import ControlClient
    from tritonfleet.spec import FleetSpec

DEFAULT_SPEC = Path("fleet.yaml")

FleetArgument = Annotated[Path | None, typer.Argument(help="The fleet's fleet.yaml; ./fleet.yaml when absent.")]
StateOption = Annotated[Path | None, typer.Option("--state", help="State folder, for a second fleet of the same name.")]


@dataclass(frozen=True)
class FleetHome:
    """A fleet as the command line sees it."""

    name: str
    spec_path: Path | None
    """None when the command did without the file."""
    layout: Layout
    cache: Path
    environ: dict[str, str]

    @property
    def client(self) -> ControlClient:
        """Client of the fleet's supervisor."""
        from tritonfleet.control_client import ControlClient

        return ControlClient(self.layout.control_socket, self.name)

    def load(self) -> FleetSpec:
        """Read the spec; raise SpecError if it is wrong or missing."""
        from tritonfleet.spec import load_spec

        return load_spec(self.spec_path or DEFAULT_SPEC)


def open_fleet(spec_path: Path | None, state: Path | None, *, must_exist: bool = True) -> FleetHome:
    """Find the fleet that the options mean.

    Without a file, commands about a running fleet (*must_exist* false) take the only fleet that has a state folder.
    """
    environ = dict(os.environ)
    path = spec_path or DEFAULT_SPEC
    if spec_path is None and not must_exist and not path.exists():
        name, state, found = _only_fleet(environ, state)
        return FleetHome(name, None, layout(name, environ, os.getuid(), state or found), cache_folder(environ), environ)
    from tritonfleet.spec import load_spec

    name = load_spec(path).name
    return FleetHome(name, path, layout(name, environ, os.getuid(), state), cache_folder(environ), environ)


def _only_fleet(environ: dict[str, str], state: Path | None) -> tuple[str, Path | None, Path | None]:
    if state is not None:
        return state.name, state, None
    folders = sorted(lock.parent for lock in state_base(environ).glob("*/supervisor.lock"))
    if len(folders) == 1:
        return folders[0].name, None, folders[0]
    names = ", ".join(folder.name for folder in folders)
    known = f"known fleets: {names}" if names else "no fleet was ever started here"
    raise UsageError(f"no fleet.yaml here; name the file, or the state folder with --state ({known})")
