"""Run the real Terraform on a directory, against the stub providers.

usage: offline.py [--data FILE.json] DIRECTORY TERRAFORM_ARGUMENT...
example: offline.py deploy/terraform/stacks/infrastructure validate
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import prepare  # noqa: E402


@contextlib.contextmanager
def providers(found: dict[str, Any], data: dict[str, Any]) -> Iterator[dict[str, str]]:
    """Serve the schemas while the block runs; yields the environment that makes Terraform use them."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.json"
        config.write_text(json.dumps({"providers": found["schemas"], "data": data}))
        server = subprocess.Popen(
            [found["python"], str(HERE / "server.py"), str(config)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert server.stdin
        assert server.stdout
        try:
            reattach = server.stdout.readline().strip()
            if not reattach:
                raise prepare.Unavailable(f"the stub provider ended at start with {server.wait()}")
            yield {
                "TF_REATTACH_PROVIDERS": reattach,
                "TF_CLI_CONFIG_FILE": os.devnull,
                "CHECKPOINT_DISABLE": "1",
                "TF_IN_AUTOMATION": "1",
            }
        finally:
            server.stdin.close()
            server.wait(timeout=30)
            server.stdout.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="answers of data sources, by type and attribute")
    parser.add_argument("directory", type=Path)
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    data = json.loads(options.data.read_text()) if options.data else {}
    found = prepare.prepare(prepare.default_cache())
    with providers(found, data) as extra, tempfile.TemporaryDirectory() as state:
        environment = {**os.environ, **extra, "TF_DATA_DIR": state}
        for arguments in (["init", "-backend=false", "-no-color"], options.arguments):
            done = subprocess.run([found["terraform"], *arguments], cwd=options.directory, env=environment, check=False)
            if done.returncode:
                raise SystemExit(done.returncode)


if __name__ == "__main__":
    main()
