"""The image's entry point, run for real between stand-ins that say how they were called."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

IMAGE = Path(__file__).parents[3] / "deploy/image"
ENTRYPOINT = IMAGE / "entrypoint.sh"
STAND_IN = '#!/bin/sh\necho "$(basename "$0") $*"\necho "token=${HF_TOKEN:-}"\n'


@dataclass(frozen=True)
class Container:
    """A folder that looks to the entry point like the image's root."""

    root: Path

    def run(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run the entry point."""
        base = {
            "PATH": f"{self.root / 'bin'}:/usr/bin:/bin",
            "TRITONFLEET_HOME": str(self.root / "opt"),
            "TRITONFLEET_FLEET": str(self.root / "fleet.yaml"),
            "TRITONFLEET_STATE": str(self.root / "state"),
            "TRITONFLEET_CACHE": str(self.root / "cache"),
        }
        return subprocess.run(
            ["bash", str(ENTRYPOINT), *arguments], env=base | environ, capture_output=True, text=True, timeout=20
        )

    def stand_in(self, name: str) -> None:
        """Put a program into the container that tells its arguments."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(STAND_IN)
        path.chmod(0o755)


@pytest.fixture
def container(tmp_path: Path) -> Container:
    found = Container(tmp_path)
    found.stand_in("opt/bin/python")
    (tmp_path / "fleet.yaml").write_text("models: []\n")
    (tmp_path / "cache").mkdir()
    return found


def test_it_serves_the_mounted_fleet(container: Container) -> None:
    result = container.run()
    root = container.root
    assert result.stdout.splitlines()[0] == (
        f"python -m tritonfleet up {root}/fleet.yaml --no-install --state {root}/state/fleet"
    )


def test_a_missing_fleet_is_named(container: Container) -> None:
    result = container.run(TRITONFLEET_FLEET="/nowhere/fleet.yaml")
    assert result.returncode == 2
    assert "/nowhere/fleet.yaml is not there or cannot be read; the chart mounts it" in result.stderr


def test_the_token_comes_from_its_file(container: Container) -> None:
    (container.root / "token").write_text("hf_secret\n")
    assert "token=hf_secret\n" in container.run(HF_TOKEN_FILE=str(container.root / "token")).stdout
    assert "token=\n" in container.run(HF_TOKEN_FILE="/nowhere").stdout, "the Secret is optional"


def test_keys_are_linked_so_that_new_ones_are_seen(container: Container) -> None:
    keys = container.root / "keys.json"
    keys.write_text("{}")
    container.run(TRITONFLEET_KEYS=str(keys))
    link = container.root / "state/fleet/keys.json"
    assert link.readlink() == keys
    container.run(TRITONFLEET_KEYS=str(keys))
    assert link.readlink() == keys, "a container that starts again finds the link"


def test_runtimes_of_the_image_show_in_the_empty_cache(container: Container) -> None:
    container.run(TRITONFLEET_RUNTIMES="/opt/runtimes")
    assert (container.root / "cache/runtimes").readlink() == Path("/opt/runtimes/runtimes")


def test_the_leader_of_several_nodes_starts_ray_first(container: Container) -> None:
    container.stand_in("bin/ray")
    lines = container.run(LWS_GROUP_SIZE="2").stdout.splitlines()
    assert lines[0].startswith("ray start --head --port=6379")
    assert "tritonfleet up" in lines[2]


def test_a_worker_joins_its_leader(container: Container) -> None:
    container.stand_in("bin/ray")
    result = container.run("worker", LWS_LEADER_ADDRESS="guide-deepseek-0.guide-deepseek")
    assert result.stdout.startswith("ray start --address=guide-deepseek-0.guide-deepseek:6379 --block")
    assert "LWS_LEADER_ADDRESS is not set" in container.run("worker").stderr


def test_an_image_without_ray_says_so(container: Container) -> None:
    result = container.run(LWS_GROUP_SIZE="2")
    assert result.returncode == 2
    assert "this image has no Ray" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["door", "{}", "--port", "9000"], "-m tritonfleet.deploy.door {} --port 9000"),
        (["copy", "{}"], "-m tritonfleet.deploy.weights copy {}"),
        (["wait", "{}", "--seconds", "60"], "-m tritonfleet.deploy.weights wait {} --seconds 60"),
    ],
)
def test_its_other_roles(container: Container, arguments: list[str], expected: str) -> None:
    table = container.root / "table.json"
    table.write_text("{}")
    result = container.run(*(argument.replace("{}", str(table)) for argument in arguments))
    assert result.stdout.splitlines()[0] == "python " + expected.replace("{}", str(table))


def test_anything_else_is_run_as_it_is(container: Container) -> None:
    assert container.run("echo", "hello").stdout == "hello\n"


def test_the_image_never_runs_as_root_and_passes_signals_on() -> None:
    stages = (IMAGE / "Dockerfile").read_text().split("\nFROM ")[1:]
    images = {stage.splitlines()[0].split(" AS ")[1]: stage for stage in stages}
    for name in ("serving", "door", "cpu"):
        users = [line.split()[1] for line in images[name].splitlines() if line.startswith("USER ")]
        assert users[-1] == "10001:10001", name
    for name in ("serving", "door"):
        assert 'ENTRYPOINT ["/usr/bin/tini", "--", "/usr/local/bin/tritonfleet-entrypoint"]' in images[name]


def test_the_build_takes_only_what_the_images_need() -> None:
    """A file that a COPY names and the ignore file leaves out would break the build."""
    ignore = (IMAGE / "Dockerfile.dockerignore").read_text().splitlines()
    copied = [
        name
        for line in (IMAGE / "Dockerfile").read_text().splitlines()
        if line.startswith("COPY") and "--from" not in line
        for name in line.split()[1:-1]
        if not name.startswith("--")
    ]
    assert copied
    root = IMAGE.parents[1]
    for name in copied:
        assert (root / name).exists(), name
        assert f"!{name}" in ignore, name
