"""What is wrong with a fleet.yaml is told with file, line, value and fix."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tritonfleet.errors import SpecError
from tritonfleet.spec import load_spec, parse_spec

MODEL = "models:\n- name: a\n  source: ./x\n"


def problem(text: str) -> str:
    """Return the message for *text*."""
    with pytest.raises(SpecError) as caught:
        parse_spec(text)
    return str(caught.value)


def outcome(text: str) -> str | None:
    """Return the message for *text*, None if it is right."""
    try:
        parse_spec(text)
    except SpecError as err:
        return str(err)
    return None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        # unknown and missing keys
        (
            MODEL + "  tensor_paralel: 2",
            "fleet.yaml:4: models[0].tensor_paralel: unknown key; did you mean `tensor_parallel`?",
        ),
        (MODEL + "door: {}", "fleet.yaml:4: door: unknown key; did you mean `doors`?"),
        (
            MODEL + "doors:\n  listen: {port: 1}",
            "fleet.yaml:5: doors.listen: unknown key; known keys here: http, grpc, metrics, openai",
        ),
        ("models:\n- source: ./x", "fleet.yaml:2: models[0].name: this key is required; add `name: ...`"),
        (MODEL + "doors:\n  http: {}", "fleet.yaml:5: doors.http.port: this key is required; add `port: ...`"),
        (
            "models:\n- name: a\n  source:",
            "fleet.yaml:3: models[0].source: there is no value; write one, or remove the key",
        ),
        # numbers and units
        (
            MODEL + "  max_model_len: 8k",
            "fleet.yaml:4: models[0].max_model_len: '8k' is not a whole number; write 8192",
        ),
        (MODEL + "  max_model_len: 1.5", "fleet.yaml:4: models[0].max_model_len: 1.5 is not a whole number; write 2"),
        (MODEL + "  max_model_len: 0", "fleet.yaml:4: models[0].max_model_len: 0 is too small; the least is 1"),
        (
            MODEL + "lifecycle:\n  start_seconds: 90s",
            "fleet.yaml:5: lifecycle.start_seconds: '90s' is not a number; write 90",
        ),
        (
            MODEL + "lifecycle:\n  start_seconds: 2 min",
            "fleet.yaml:5: lifecycle.start_seconds: '2 min' is not a number; write 120",
        ),
        (
            MODEL + "lifecycle:\n  start_seconds: 2 GiB",
            "fleet.yaml:5: lifecycle.start_seconds: '2 GiB' is not a number; write the number alone (seconds)",
        ),
        (
            MODEL + "lifecycle:\n  start_seconds: 0",
            "fleet.yaml:5: lifecycle.start_seconds: 0 is too small; it must be above 0",
        ),
        (
            MODEL + "lifecycle:\n  start_seconds: .inf",
            "fleet.yaml:5: lifecycle.start_seconds: .inf is not a finite number; write a number",
        ),
        (
            MODEL + "gateway:\n  max_body_bytes: 64 MiB",
            "fleet.yaml:5: gateway.max_body_bytes: '64 MiB' is not a whole number; write 67108864",
        ),
        (
            MODEL + "doors:\n  http: {port: 99999}",
            "fleet.yaml:5: doors.http.port: 99999 is too large; the most is 65535",
        ),
        # text and choices
        (MODEL + "  engine: vlm", "did you mean 'vllm'?"),
        (MODEL + "  load: yes", "fleet.yaml:4: models[0].load: 'yes' is not true or false; write true"),
        (MODEL + "  env: {A: 010}", 'fleet.yaml:4: models[0].env.A: 010 is not text; write it in quotes: "010"'),
        (MODEL + "  env: {A: true}", 'fleet.yaml:4: models[0].env.A: true is not text; write it in quotes: "true"'),
        (MODEL + "  engine_args: {1: 2}", 'models[0].engine_args[1]: the key 1 is not text; write it in quotes: "1"'),
        (
            "name: Big Fleet\n" + MODEL,
            "fleet.yaml:1: name: 'Big Fleet' is not a name: small letters, digits and '-', at most 40; "
            "write for example 'big-fleet'",
        ),
        ("models:\n- {name: a/b, source: x}", "write for example 'a-b'"),
        # lists and mappings
        ("models: a", "fleet.yaml:1: models: 'a' is not a list; write [a]"),
        ("models: {a: 1}", "fleet.yaml:1: models: {'a': 1} is not a list; begin each entry with `- `"),
        (
            MODEL + "doors:\n  http: 80",
            "fleet.yaml:5: doors.http: 80 is not a mapping; write its keys below it: host, port",
        ),
        (MODEL + "  lora: [a]", "fleet.yaml:4: models[0].lora: ['a'] is not a mapping; write `key: value` below it"),
        (MODEL + "repository:\n  load: x", "fleet.yaml:5: repository.load: 'x' is not 'all' or a list"),
        # devices
        (
            MODEL + "  devices: gpu0",
            "fleet.yaml:4: models[0].devices: 'gpu0' is not 'auto' or 'cpu' or a list; did you mean 'cpu'?",
        ),
        (
            MODEL + "  devices: [0, one]",
            "fleet.yaml:4: models[0].devices[1]: 'one' is not a whole number; write a number",
        ),
        (
            MODEL + "  devices: -1",
            "fleet.yaml:4: models[0].devices: -1 is too small; the least is 0, or 'auto' or 'cpu'",
        ),
        (MODEL + "  devices: [0, 0]", "devices [0, 0] names a GPU twice; name each GPU once"),
        (
            MODEL + "  devices: [0, 1, 2]\n  tensor_parallel: 2",
            "devices names 3 GPUs, but tensor_parallel x pipeline_parallel needs 2",
        ),
        (MODEL + "  devices: cpu\n  tensor_parallel: 2", "tensor_parallel and pipeline_parallel need GPUs"),
        # sources
        (
            MODEL + "  lora:\n    b: ftp://x",
            "fleet.yaml:4: models[0].lora: adapter 'b': ftp:// is not a known source; write a folder or",
        ),
        ("models:\n- {name: a, source: 'hf://x'}", "'hf://x' is not of the form hf://org/name"),
        ("models:\n- {name: a, source: 's3://'}", "'s3://' names nothing after s3://"),
        ("models:\n- {name: a, source: ' '}", "the source is empty; write a folder or hf://org/name"),
        # the whole
        ("name: x", "fleet.yaml:1: the fleet has no models; add one under models"),
        (MODEL + "- name: b\n  source: y\n  lora:\n    a: z", "fleet.yaml:7: the name 'a' is used twice"),
        (
            MODEL + "  share: g\n  pool: p\n- name: b\n  source: y\n  share: g\n  pool: q",
            "fleet.yaml:9: models of the share group 'g' take turns on the same GPUs, so they share a pod: "
            "the pool of 'b' is 'q' and that of 'a' is 'p'; name one pool",
        ),
        (
            MODEL + "doors:\n  http:\n    port: 9000",
            "fleet.yaml:5: doors: doors.openai and doors.http both ask for port 9000; give one of them another port",
        ),
        ("", "fleet.yaml:1: a fleet starts with keys such as `name:` and `models:`"),
        # YAML itself
        ("name: a\nmodels: [", "fleet.yaml:2: this is not YAML: "),
        ("\tname: a", "fleet.yaml:1: this is not YAML: "),
        ("a: *b", "fleet.yaml:1: this is not YAML: found undefined alias"),
        ("a: &a [*a]", "fleet.yaml:1: this value contains itself; write it out"),
        ("? [a, b]\n: c", "fleet.yaml:1: a key must be text, not a list or a mapping"),
        (MODEL + "name: a\nname: b", "fleet.yaml:5: the key `name` stands already on line 4; keep one of them"),
        ("name: a\n---\nname: b", "this is not YAML: "),
        ("[" * 1200, "fleet.yaml: this is not YAML: "),
        ("n: " + "9" * 5000, "fleet.yaml: this is not YAML: "),
        ("n: \x01", "fleet.yaml: this is not YAML: "),
    ],
)
def test_each_mistake_is_told_in_words(text: str, message: str) -> None:
    """File, line, key, value, and what to write instead."""
    assert message in problem(text)


def test_every_mistake_is_told_at_once() -> None:
    """One line for each, so that one run finds them all."""
    found = problem("models:\n- name: a\n  source: ./x\n  engine: vlm\n  dtype: int4\ndoors: 1").splitlines()
    assert [line.split(": ")[1] for line in found] == ["models[0].engine", "models[0].dtype", "doors"]


@pytest.mark.parametrize("name", ["strict", "int4", "list", "none", "tuple[x]", "literal"])
def test_keys_that_look_like_types_keep_their_place(name: str) -> None:
    """pydantic names the branches of a union in its locations; a key of the file is not one."""
    assert f"fleet.yaml:4: models[0].{name}: unknown key" in problem(MODEL + f"  {name}: 1")


def test_off_and_no_are_words_and_dates_are_text() -> None:
    """YAML 1.1 would read booleans and a date there."""
    spec = parse_spec(MODEL + "  engine_args: {a: off, b: no, c: 2024-01-01, d: true}\ngateway: {keys: off}")
    assert spec.models[0].engine_args == {"a": "off", "b": "no", "c": "2024-01-01", "d": True}
    assert spec.gateway.keys == "off"


def test_anchors_and_merges_work() -> None:
    """A part that models share is written once."""
    text = "models:\n- &a {name: a, source: ./x, engine_args: &e {max_num_seqs: 4}}\n- {<<: *a, name: b}\n"
    spec = parse_spec(text)
    assert spec.models[1].engine_args == {"max_num_seqs": 4}


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """A missing file shows a first one that works; a folder and other encodings are named."""
    with pytest.raises(
        SpecError, match=r"(?s)there is no such file; a first one can be.*source: demo://llama2"
    ) as caught:
        load_spec(tmp_path / "fleet.yaml")
    assert parse_spec(str(caught.value).partition("can be\n")[2]).models[0].name == "llama2"
    with pytest.raises(SpecError, match="this is a folder"):
        load_spec(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"name: \xe4")
    with pytest.raises(SpecError, match="cannot be read: 'utf-8' codec"):
        load_spec(tmp_path / "latin.yaml")


@given(st.text(max_size=200))
def test_any_text_is_a_spec_or_a_spec_error(text: str) -> None:
    """Nothing else ever comes out."""
    message = outcome(text)
    assert message is None or message.startswith("fleet.yaml")


_yaml_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_keys = ["name", "models", "doors", "http", "port", "devices", "source", "lora", "load", "lifecycle", "start_seconds"]


@settings(max_examples=40)
@given(
    st.recursive(
        _yaml_values, lambda inner: st.dictionaries(st.sampled_from(_keys), inner | st.lists(inner), max_size=4)
    )
)
def test_any_values_are_a_spec_or_a_spec_error(value: object) -> None:
    """Right keys with wrong values never end in a traceback."""
    message = outcome(yaml.safe_dump(value, allow_unicode=True))
    assert message is None or message.startswith("fleet.yaml")
