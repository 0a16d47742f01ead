"""Where a fleet keeps its files, as paths computed from its name; nothing here creates or reads them.

Sockets live apart from the state folder because a Unix socket's path holds at most 107 bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """Folders of one fleet."""

    state: Path
    """Logs, rendered repository, lock: survives a stop."""
    sockets: Path
    """Unix sockets: removed when the fleet stops, whatever stops it."""

    @property
    def lock_file(self) -> Path:
        """Held (flock) by the supervisor while the fleet is up; holds its pid."""
        return self.state / "supervisor.lock"

    @property
    def control_socket(self) -> Path:
        """The supervisor's HTTP socket; see ``wire``."""
        return self.sockets / "control.sock"

    @property
    def repository(self) -> Path:
        """The rendered Triton model repository."""
        return self.state / "model_repository"

    @property
    def backends(self) -> Path:
        """Triton's backend directory with the bridge in it."""
        return self.state / "backends"

    @property
    def logs(self) -> Path:
        """One log file a process."""
        return self.state / "logs"

    @property
    def keys_file(self) -> Path:
        """API keys of the OpenAI door, hashed."""
        return self.state / "keys.json"

    @property
    def admin_token_file(self) -> Path:
        """The token with which the fleet's user manages it in the console; a new one with each `up`."""
        return self.sockets / "admin.token"

    def engine_socket(self, model: str, replica: int) -> Path:
        """Socket of one engine; the name is a digest because model names can be long."""
        digest = hashlib.sha256(model.encode()).hexdigest()[:8]
        return self.sockets / f"{digest}-{replica}.sock"

    def engine_log(self, model: str, replica: int) -> Path:
        """Log file of one engine."""
        return self.logs / f"{model}-{replica}.log"


def layout(fleet: str, environ: Mapping[str, str], uid: int, state: Path | None = None) -> Layout:
    """Return the layout of the fleet called *fleet*; *state* overrides its state folder."""
    folder = (state or state_base(environ) / fleet).absolute()
    # Not XDG_RUNTIME_DIR: a shell without it (cron, sudo) must find the same fleet.
    run = Path(f"/tmp/tritonfleet-{uid}")  # noqa: S108 - made with mode 0700, its owner is checked
    digest = hashlib.sha256(str(folder).encode()).hexdigest()[:12]
    return Layout(state=folder, sockets=run / f"tritonfleet-{digest}")


def state_base(environ: Mapping[str, str]) -> Path:
    """Return the folder that holds the state folders of a user's fleets."""
    home = Path(environ.get("HOME") or "/tmp")  # noqa: S108 - a container without HOME
    base = Path(environ.get("XDG_STATE_HOME") or home / ".local/state") / "tritonfleet"
    return Path(environ.get("TRITONFLEET_STATE") or base)


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Return the folder of runtimes and downloaded models, shared by all fleets of a user."""
    home = Path(environ.get("HOME") or "/tmp")  # noqa: S108 - a container without HOME
    return Path(
        environ.get("TRITONFLEET_CACHE") or (Path(environ.get("XDG_CACHE_HOME") or home / ".cache") / "tritonfleet")
    )
