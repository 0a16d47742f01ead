"""Stands in for aws, terraform, kubectl, helm, curl and tritonfleet: records each call, answers from a script.

The folder in STAND_IN holds rules.json, a list of {tool, match, code, stdout, stderr, times, copy, touch}. The first
rule whose tool and pattern fit answers; with `times` it fits that often only. What no rule fits succeeds in silence.
Each call becomes a line of calls.jsonl: tool, argv, stdin, and the environment values that the tests look at.
"""

import json
import os
import re
import sys

WATCHED = ("TF_VAR_secret_values", "TF_DATA_DIR", "KUBECONFIG", "AWS_REGION")
# No pathlib and no typing: these processes are many, and each import is paid a hundred times in a run.


def fits(rule: dict, tool: str, line: str, folder: str, index: int) -> bool:  # type: ignore[type-arg]
    if rule["tool"] != tool or not re.search(rule["match"], line):
        return False
    if "times" not in rule:
        return True
    with open(f"{folder}/rule-{index}", "a+") as counter:  # noqa: PTH123
        used = counter.tell()
        counter.write(".")
    return used < int(rule["times"])


def main() -> int:
    folder = os.environ["STAND_IN"]
    tool, argv = os.path.basename(sys.argv[0]), sys.argv[1:]  # noqa: PTH119
    line = " ".join(argv)
    reads = ("-K" in argv or "-i" in argv) and not sys.stdin.isatty()
    call = {
        "tool": tool,
        "argv": argv,
        "cwd": os.getcwd(),  # noqa: PTH109
        "stdin": sys.stdin.read() if reads else "",
        "env": {name: os.environ[name] for name in WATCHED if name in os.environ},
    }
    with open(f"{folder}/calls.jsonl", "a") as out:  # noqa: PTH123
        out.write(json.dumps(call) + "\n")
    with open(f"{folder}/rules.json") as source:  # noqa: PTH123
        rules = json.load(source)
    for index, rule in enumerate(rules):
        if not fits(rule, tool, line, folder, index):
            continue
        if "copy" in rule:  # the folder after -o becomes a copy of this one
            import shutil

            shutil.copytree(rule["copy"], argv[argv.index("-o") + 1], dirs_exist_ok=True)
        sys.stdout.write(rule.get("stdout", ""))
        sys.stderr.write(rule.get("stderr", ""))
        return int(rule.get("code", 0))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
