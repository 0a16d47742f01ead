"""engine_args become options that the programs' own parsers read back."""

from __future__ import annotations

import argparse
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tritonfleet.engines import arguments
from tritonfleet.errors import UsageError

names = st.from_regex(r"[a-z][a-z0-9]{0,8}(_[a-z0-9]{1,8}){0,3}", fullmatch=True).filter(lambda name: name[:3] != "no_")
# argparse keeps a lone "--" for itself; no option of an engine takes it for a value.
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1).filter(
    lambda t: t != "--"
)
scalars = st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False), texts)
structures = st.dictionaries(texts, st.one_of(scalars, st.lists(scalars), st.booleans()), max_size=3)


def spelled(name: str, style: int) -> str:
    """Return one of the spellings that people use."""
    return (name, name.replace("_", "-"), f"--{name.replace('_', '-')}")[style]


def read(words: tuple[str, ...], name: str, **how: Any) -> Any:
    """Return what argparse makes of *words*."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument(f"--{name.replace('_', '-')}", dest="it", **how)
    return parser.parse_args(list(words)).it


@given(names, st.integers(0, 2))
def test_every_spelling_of_a_name_is_the_same_option(name: str, style: int) -> None:
    """snake_case, kebab-case and the flag itself read as one name."""
    assert arguments.read_arguments("m", {spelled(name, style): 1}) == {name: 1}


@given(names, st.integers(0, 2), st.integers(0, 2))
def test_one_option_in_two_spellings_is_refused(name: str, first: int, second: int) -> None:
    """The message names both spellings."""
    one, other = spelled(name, first), spelled(name, second)
    if one == other:
        return
    with pytest.raises(UsageError, match="keep one") as caught:
        arguments.read_arguments("m", {one: 1, other: 2})
    assert repr(one) in str(caught.value)
    assert repr(other) in str(caught.value)


@given(names, scalars)
def test_a_value_survives_the_command_line(name: str, value: Any) -> None:
    """Numbers and texts come back as they were, also those that begin with a dash."""
    back = read(arguments.option("m", name, value), name)
    assert back == value if isinstance(value, str) else json.loads(back) == value


@given(names, structures)
def test_a_structure_is_written_as_json(name: str, value: dict[str, Any]) -> None:
    """Mappings and lists are JSON in one word."""
    assert json.loads(read(arguments.option("m", name, value), name)) == value
    assert json.loads(read(arguments.option("m", name, [value]), name)) == [value]


@given(names, st.booleans(), st.booleans())
def test_a_switch_has_two_forms(name: str, value: bool, as_text: bool) -> None:
    """true and false, also as text, are --name and --no-name."""
    words = arguments.option("m", name, str(value).lower() if as_text else value, "switch")
    assert read(words, name, action=argparse.BooleanOptionalAction) is value


@given(names, st.booleans())
def test_a_flag_is_there_or_not(name: str, value: bool) -> None:
    """false leaves it out."""
    assert read(arguments.option("m", name, value, "flag"), name, action="store_true") is value


@given(names, st.lists(texts.filter(lambda text: text[0] != "-"), min_size=1))
def test_a_list_is_separate_words(name: str, values: list[str]) -> None:
    """Options that take several words get them."""
    assert read(arguments.option("m", name, values, "list"), name, nargs="+") == values
    assert read(arguments.option("m", name, values[0], "list"), name, nargs="+") == values[:1]


def test_null_leaves_an_option_out() -> None:
    """An empty YAML value means the engine's own default."""
    assert arguments.read_arguments("m", {"seed": None, "max-num-seqs": 4}) == {"max_num_seqs": 4}


def test_a_dotted_name_keeps_what_follows_the_dot() -> None:
    """vLLM's JSON options can be given key by key."""
    words = arguments.option("m", arguments.canonical("compilation-config.cudagraph_mode"), "FULL")
    assert words == ("--compilation-config.cudagraph_mode", "FULL")


@pytest.mark.parametrize(
    ("value", "kind", "said"),
    [("maybe", "switch", "write true or false"), ([], "list", "is empty")],
)
def test_a_value_of_the_wrong_kind_is_refused(value: object, kind: arguments.Kind, said: str) -> None:
    """The message names the option and its value."""
    with pytest.raises(UsageError, match=said):
        arguments.option("m", "x", value, kind)


def test_an_unknown_option_names_its_neighbour() -> None:
    """A slip of the pen is answered with what was meant; without a neighbour, with where to look."""
    with pytest.raises(UsageError, match=r"m: engine_args.max_num_seq: vLLM has no such option; did you mean max_num_"):
        arguments.refuse_unknown("m", "vLLM", ["max_num_seq"], ["max_num_seqs", "seed"])
    with pytest.raises(UsageError, match="--help"):
        arguments.refuse_unknown("m", "vLLM", ["qqqqqqqq"], ["seed"])
    arguments.refuse_unknown("m", "vLLM", ["config.a"], ["config"])
