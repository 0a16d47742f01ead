"""Stands in for aws, terraform, kubectl, helm, curl and tritonfleet: records each call, answers from a script.

The folder in STAND_IN holds rules.json, a list of {tool, match, code, stdout, stderr, times, copy, touch}. The first
rule whose tool and pattern fit answers; with `times` it fits that often only. What no rule fits succeeds in silence.
Each call becomes a line of calls.jsonl: tool, argv, stdin, and the environment values that the tests look at.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

WATCHED = ("TF_VAR_secret_values", "TF_DATA_DIR", "KUBECONFIG", "AWS_REGION")


def fits(rule: dict[str, Any], tool: str, line: str, folder: Path, index: int) -> bool:
    if rule["tool"] != tool or not re.search(rule["match"], line):
        return False
    if "times" not in rule:
        return True
    counter = folder / f"rule-{index}"
    used = int(counter.read_text()) if counter.exists() else 0
    counter.write_text(str(used + 1))
    return used < int(rule["times"])


def main() -> int:
    folder = Path(os.environ["STAND_IN"])
    tool, argv = Path(sys.argv[0]).name, sys.argv[1:]
    line = " ".join(argv)
    reads = ("-K" in argv or "-i" in argv) and not sys.stdin.isatty()
    call = {
        "tool": tool,
        "argv": argv,
        "cwd": str(Path.cwd()),
        "stdin": sys.stdin.read() if reads else "",
        "env": {name: os.environ[name] for name in WATCHED if name in os.environ},
    }
    with (folder / "calls.jsonl").open("a") as out:
        out.write(json.dumps(call) + "\n")
    for index, rule in enumerate(json.loads((folder / "rules.json").read_text())):
        if not fits(rule, tool, line, folder, index):
            continue
        if "copy" in rule:  # the folder after -o becomes a copy of this one
            import shutil  # only here: these processes are many and must start fast

            shutil.copytree(rule["copy"], argv[argv.index("-o") + 1], dirs_exist_ok=True)
        sys.stdout.write(rule.get("stdout", ""))
        sys.stderr.write(rule.get("stderr", ""))
        return int(rule.get("code", 0))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
