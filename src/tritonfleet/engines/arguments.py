"""Turn ``engine_args`` of the spec into the options of a program's command line.

Pure: names are taken in either spelling, checked against what the program knows, and written in its own form.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from tritonfleet.errors import UsageError

Kind = Literal[
    "value",  # --name VALUE; lists and mappings as JSON
    "list",  # --name VALUE VALUE ...
    "switch",  # --name or --no-name
    "flag",  # --name or nothing
]


def canonical(name: str) -> str:
    """Return an option's name in snake_case: ``--max-num-seqs`` and ``max_num_seqs`` are the same option.

    Of a dotted name (``compilation_config.cudagraph_mode``) only the first part is an option's name.
    """
    head, dot, rest = name.strip().lstrip("-").partition(".")
    return head.replace("-", "_") + dot + rest


def read_arguments(model: str, engine_args: Mapping[str, Any]) -> dict[str, Any]:
    """Return *engine_args* by canonical name, without those that are null.

    Raises UsageError when the same option is given twice in two spellings.
    """
    spelled: dict[str, str] = {}
    for name in engine_args:
        plain = canonical(name)
        if plain in spelled:
            raise UsageError(
                f"{model}: engine_args holds {spelled[plain]!r} and {name!r}, which are the same option; keep one"
            )
        spelled[plain] = name
    return {plain: engine_args[name] for plain, name in spelled.items() if engine_args[name] is not None}


def refuse_unknown(model: str, program: str, names: Iterable[str], known: Iterable[str]) -> None:
    """Raise UsageError for the first of *names* that *program* does not know, with the nearest that it does."""
    choices = {name.partition(".")[0] for name in known}
    for name in names:
        head = name.partition(".")[0]
        if head not in choices:
            near = difflib.get_close_matches(head, choices, n=1)
            hint = f"did you mean {near[0]}?" if near else f"see `{program} --help` for its options"
            raise UsageError(f"{model}: engine_args.{name}: {program} has no such option; {hint}")


def refuse_owned(model: str, names: Iterable[str], owned: Mapping[str, str]) -> None:
    """Raise UsageError for the first of *names* that the fleet sets itself; *owned* maps it to what to do instead."""
    for name in names:
        if name in owned:
            raise UsageError(f"{model}: engine_args.{name} is set by the fleet; {owned[name]}")


def take_matching(model: str, arguments: dict[str, Any], aliases: Mapping[str, str], wanted: Mapping[str, Any]) -> None:
    """Remove the arguments that repeat a key of the spec; raise UsageError where the two disagree.

    *aliases* maps an argument's name to the spec's key, *wanted* holds the spec's values.
    """
    for name in [name for name in arguments if name in aliases]:
        key, value = aliases[name], arguments.pop(name)
        if str(value) != str(wanted[key]):
            raise UsageError(
                f"{model}: engine_args.{name} is {value!r}, but the spec says {key}: {wanted[key]}; "
                f"write `{key}: {value}` beside engine_args instead"
            )


def option(model: str, name: str, value: Any, kind: Kind | None = None) -> tuple[str, ...]:
    """Return the words of one option as ``argparse`` and ``click`` read it; *kind* None follows the value's type.

    *name* is canonical; a name that begins with dashes is taken as it is. Raises UsageError when the value does
    not fit the kind.
    """
    kind = kind or ("switch" if isinstance(value, bool) else "value")
    flag = name if name.startswith("--") else kebab(name)
    if kind in ("switch", "flag"):
        if truth(model, name, value):
            return (flag,)
        return (f"--no-{flag.removeprefix('--')}",) if kind == "switch" else ()
    if kind == "list":
        values = value if isinstance(value, list | tuple) else [value]
        if not values:
            raise UsageError(f"{model}: engine_args.{name} is empty; name at least one value, or remove it")
        return (flag, *map(word, values))
    text = word(value)
    # A separate word that begins with a dash would be taken for another option.
    return (f"{flag}={text}",) if text.startswith("-") else (flag, text)


def kebab(name: str) -> str:
    """Return the flag of a canonical name, with dashes: ``max_num_seqs`` becomes ``--max-num-seqs``."""
    head, dot, rest = name.partition(".")
    return f"--{head.replace('_', '-')}{dot}{rest}"


def truth(model: str, name: str, value: Any) -> bool:
    """Read a boolean; NVIDIA's model.json files hold them as text too. Raises UsageError for anything else."""
    text = str(value).lower()
    if text not in ("true", "false"):
        raise UsageError(f"{model}: engine_args.{name} is {value!r}; write true or false")
    return text == "true"


def is_true(value: object) -> bool:
    """Return whether a switch is on: true, or the word for it in any case."""
    return str(value).lower() == "true"


def word(value: Any) -> str:
    """Return a value as one word of a command line: text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
