"""Write src/tritonfleet/engines/vllm_options.py from the argument parsers of installed vLLM releases.

    python scripts/record_vllm_options.py PYTHON_WITH_VLLM [PYTHON_WITH_VLLM ...]

The environment is passed on, so a release that is only unpacked can be named with PYTHONPATH in a wrapper script.
"""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

TARGET = Path(__file__).parent.parent / "src/tritonfleet/engines/vllm_options.py"
KINDS = ("switch", "flag", "list", "value")

#: Runs inside the other environment.
PROBE = """
import argparse, json, sys, vllm
from vllm.utils.argparse_utils import FlexibleArgumentParser
try:
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
except ImportError:
    from vllm.entrypoints.openai.cli_args import make_arg_parser
kinds = {}
for action in make_arg_parser(FlexibleArgumentParser())._actions:
    names = [name[2:].replace("-", "_") for name in action.option_strings if name.startswith("--")]
    if isinstance(action, argparse.BooleanOptionalAction):
        kind, names = "switch", [name for name in names if not name.startswith("no_")]
    else:
        kind = "flag" if action.nargs == 0 else "list" if action.nargs in ("+", "*") else "value"
    kinds.update({name: kind for name in names if name != "help"})
json.dump({"version": vllm.__version__, "kinds": kinds}, sys.stdout)
"""


def probe(python: str) -> dict[str, object]:
    """Return version and options of the vLLM of one environment."""
    done = subprocess.run([python, "-W", "ignore", "-c", PROBE], capture_output=True, text=True, check=True)
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


def module(found: list[dict[str, object]]) -> str:
    """Return the text of the module; a later release wins where two disagree on a kind."""
    kinds: dict[str, str] = {}
    for entry in found:
        kinds.update(entry["kinds"])  # type: ignore[call-overload]
    versions = ", ".join(str(entry["version"]) for entry in found)
    newest = tuple(int(part) for part in str(found[-1]["version"]).split(".")[:2])
    lines = [
        f'"""The options of vLLM\'s OpenAI server by kind, read from the parsers of {versions}.',
        "",
        "Written by scripts/record_vllm_options.py; do not edit.",
        '"""',
        "",
        "from __future__ import annotations",
        "",
        "from tritonfleet.engines.arguments import Kind",
        "",
        "#: Newest release (major, minor) whose options are here; a later one may have more.",
        f"NEWEST = {newest}",
        "",
        "_NAMES: dict[Kind, str] = {",
    ]
    for kind in KINDS:
        names = " ".join(sorted(name for name, its in kinds.items() if its == kind))
        body = textwrap.indent(textwrap.fill(names, 108), " " * 8)
        lines += [f'    "{kind}": """', body, '    """,']
    lines += [
        "}",
        "",
        "#: Option name in snake_case to kind.",
        "KINDS: dict[str, Kind] = {name: kind for kind, names in _NAMES.items() for name in names.split()}",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    found = sorted(map(probe, sys.argv[1:]), key=lambda entry: [int(n) for n in str(entry["version"]).split(".")[:2]])
    TARGET.write_text(module(found), encoding="utf-8")
    print(f"{TARGET}: options of vLLM {', '.join(str(entry['version']) for entry in found)}")
