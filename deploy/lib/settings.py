"""The JSON side of install.sh and cleanup.sh, as one command with a verb for each question.

Every verb reads files or standard input and prints; it calls nothing and changes nothing. Refused input exits 1
with the reason on standard error.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from capacity import ADDONS, capacity_problems, choose_zones, default_addons, instance_types
from documents import (
    SCRIPT_KEYS,
    Refused,
    answer_text,
    at_least,
    curl_config,
    declared,
    delete_request,
    field,
    leftovers,
    load_balanced,
    merge,
    read,
    secret_settings,
)
from prices import bill, bill_text, read_prices

Options = argparse.Namespace


def stdin(default: str = "null") -> Any:
    """The JSON on standard input; *default* where there is none."""
    return json.loads(sys.stdin.read().strip() or default)


def merged(options: Options) -> str:
    stacks = [path for path in Path(options.stacks).iterdir() if path.is_dir()]
    known = SCRIPT_KEYS.union(*(declared(path) for path in stacks))
    return json.dumps(merge([read(path) for path in options.files], known), indent=2)


def stack_inputs(options: Options) -> str:
    """The settings that one stack declares, with NAME=JSON pairs laid over them."""
    pairs = dict(pair.split("=", 1) for pair in options.extra)
    values = read(options.inputs) | {name: json.loads(text) for name, text in pairs.items()}
    names = declared(Path(options.stack))
    return json.dumps({name: value for name, value in values.items() if name in names}, indent=2)


def shell_values(options: Options) -> str:
    """What the scripts need of the settings, as assignments for eval."""
    inputs = read(options.inputs)
    values = {
        "namespace": inputs.get("namespace", "tritonfleet"),
        "front": inputs.get("front", "nginx-gateway-fabric"),
        "kubernetes_version": inputs.get("kubernetes_version", "1.36"),
        "token_required": "yes" if inputs.get("hugging_face_token_required") else "no",
        "models": " ".join(inputs.get("models", [])),
        "types": " ".join(instance_types(inputs)),
        "pinned_account": inputs.get("account_id") or "",
        "pinned_region": inputs.get("region") or "",
    }
    return "\n".join(f"{name}={shlex.quote(str(value))}" for name, value in values.items())


def pins(options: Options) -> str:
    inputs = read(options.inputs)
    wanted = [*ADDONS, *(["amazon-cloudwatch-observability"] if inputs.get("cloudwatch_observability") else [])]
    return json.dumps(
        {
            "region": options.region,
            "account_id": options.account,
            "admin_principal_arns": [options.admin],
            "zones": choose_zones(read(options.zones), read(options.offerings), instance_types(inputs)),
            "system_node_release_version": options.release,
            "addon_versions": default_addons(read(options.addons), wanted),
        },
        indent=2,
    )


def priced(options: Options) -> str:
    return bill_text(bill(read(options.inputs), read_prices(Path(options.prices))))


def capacity(options: Options) -> str:
    documents = [read(path) for path in (options.inputs, options.types, options.quotas, options.offerings)]
    return "\n".join(capacity_problems(*documents))


def secret_plan(options: Options) -> str:
    return json.dumps(secret_settings(stdin("{}"), os.environ.get("HF_TOKEN", ""), int(time.time())))


def prompt(options: Options) -> str:
    return curl_config(options.url, options.model, os.environ.get("TRITONFLEET_API_KEY", ""))


def releases(options: Options) -> str:
    return "\n".join(f"{item['name']} {item['namespace']} {item['revision']}" for item in stdin("[]"))


def version_check(options: Options) -> str:
    if not at_least(options.version, options.least):
        raise Refused(f"{options.version} is older than {options.least}")
    return ""


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = top.add_subparsers(required=True)

    def verb(name: str, run: Callable[[Options], str], *arguments: str) -> argparse.ArgumentParser:
        sub = verbs.add_parser(name)
        for argument in arguments:
            sub.add_argument(argument)
        sub.set_defaults(run=run)
        return sub

    verb("merge", merged, "stacks").add_argument("files", nargs="+")
    verb("stack", stack_inputs, "stack", "inputs").add_argument("extra", nargs="*")
    pinned = verb("pins", pins, "inputs", "zones", "offerings", "addons")
    for name in ("region", "account", "admin", "release"):
        pinned.add_argument(f"--{name}", required=True)
    verb("bill", priced, "inputs", "prices")
    verb("capacity", capacity, "inputs", "types", "quotas", "offerings")
    verb("secrets", secret_plan)
    verb("releases", releases)
    verb("prompt", prompt, "url", "model")
    verb("answer", lambda o: answer_text(o.model, sys.stdin.read()), "model")
    verb("at-least", version_check, "version", "least")
    verb("shell", shell_values, "inputs")
    verb("field", lambda o: field(stdin(), o.path), "path")
    verb("list", lambda o: json.dumps(o.words)).add_argument("words", nargs="*")
    verb("load-balanced", lambda o: "\n".join(load_balanced(stdin())))
    verb("delete-request", lambda o: json.dumps(delete_request(stdin("{}"))))
    verb("count", lambda o: str(len(stdin()["Objects"])))
    verb("text", lambda o: str(stdin('""')))
    verb("lines", lambda o: "\n".join(stdin("[]") or []))
    verb("leftovers", lambda o: "\n".join(leftovers(stdin("{}"))))
    return top


def main() -> None:
    options = parser().parse_args()
    try:
        answer = options.run(options)
        sys.stdout.write(f"{answer}\n" if answer else "")
    except Refused as err:
        sys.stderr.write(f"{err}\n")
        raise SystemExit(1) from err


if __name__ == "__main__":
    main()
