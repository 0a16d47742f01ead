"""The rendered repository: golden files, and properties of any spec's repository."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import pytest
import yaml
from google.protobuf import text_format
from hypothesis import given, settings
from hypothesis import strategies as st
from tritonclient.grpc import model_config_pb2 as pb

from tests.spec.strategies import fleets, valid_arguments
from tritonfleet.errors import UsageError
from tritonfleet.repository import check_repository, render_repository, write_repository
from tritonfleet.sources import ChatTemplate, ResolvedModel
from tritonfleet.spec import FleetSpec, parse_spec

GOLDEN = Path(__file__).parent / "golden"
SPEC = """
models:
  - name: llama2
    source: hf://meta-llama/Llama-2-7b-chat-hf
    tensor_parallel: 2
    dtype: bfloat16
    max_model_len: 4096
    lora: {support: ./adapters/support, legal: hf://org/legal}
    engine_args: {gpu-memory-utilization: 0.9, compilation_config.mode: 0, quantization: null}
  - name: demo
    source: demo://llama2
    engine: sglang
    engine_args: {mem_fraction_static: 0.8}
"""
CHAT = ChatTemplate("{{ bos_token }}[INST] {{ messages[0]['content'] }} [/INST]\n안녕 \"\\", "<s>", "</s>")
HUB_ID = "meta-llama/Llama-2-7b-chat-hf"
RESOLVED = {
    "llama2": ResolvedModel("hf://meta-llama/Llama-2-7b-chat-hf", "hub", Path("/x"), HUB_ID, "c0ffee", CHAT),
    "support": ResolvedModel("./adapters/support", "folder", Path("/fleet/support"), "/fleet/adapters/support"),
    "demo": ResolvedModel("demo://llama2", "demo", Path("/demo/llama2"), "/demo/llama2"),
}


def test_the_files_are_as_recorded() -> None:
    """Run `python -m tests.repository.test_render` after a change that is meant."""
    recorded = {
        PurePosixPath(path.relative_to(GOLDEN).as_posix()): path.read_text(encoding="utf-8")
        for path in GOLDEN.rglob("*")
        if path.is_file()
    }
    assert render_repository(parse_spec(SPEC), RESOLVED) == recorded


def parsed(text: str) -> Any:
    """Return config.pbtxt as Triton reads it."""
    return text_format.Parse(text, pb.ModelConfig())


def test_max_batch_size_is_written_although_it_is_zero() -> None:
    """protobuf leaves zeros out."""
    assert "max_batch_size: 0\n" in render_repository(parse_spec(SPEC), RESOLVED)[PurePosixPath("demo/config.pbtxt")]


def test_the_same_argument_in_two_spellings_is_refused() -> None:
    """Which one is meant cannot be known."""
    spec = parse_spec("models: [{name: demo, source: ./x, engine_args: {max_num_seqs: 1, max-num-seqs: 2}}]")
    with pytest.raises(UsageError, match="same option"):
        render_repository(spec, RESOLVED)


_texts = st.text(st.characters(codec="utf-8"), max_size=40)
_chats = st.builds(ChatTemplate, _texts | st.none(), _texts, _texts)


@st.composite
def rendered(draw: st.DrawFn) -> tuple[FleetSpec, dict[str, ResolvedModel]]:
    """Return a valid spec and resolved sources for it."""
    spec = parse_spec(yaml.safe_dump(draw(fleets(valid_arguments)), allow_unicode=True))
    resolved = {}
    for model in spec.models:
        kind: Literal["folder", "hub"] = draw(st.sampled_from(["folder", "hub"]))
        revision = draw(st.none() | st.just("c" * 40))
        resolved[model.name] = ResolvedModel(model.source, kind, Path("/m"), "reference", revision, draw(_chats))
    return spec, resolved


@settings(max_examples=25)
@given(rendered())
def test_any_spec_renders_what_the_check_takes_and_triton_reads(
    case: tuple[FleetSpec, dict[str, ResolvedModel]],
) -> None:
    """Nothing is wrong, and every value survives the way through protobuf's text."""
    spec, resolved = case
    files = render_repository(spec, resolved)
    with tempfile.TemporaryDirectory() as folder:
        write_repository(files, Path(folder))
        findings = check_repository(Path(folder))
    # An adapter's folder may be on another machine, and is, here.
    assert [finding for finding in findings if "there is no /models/a b here" not in finding.message] == []
    for model in spec.models:
        config = parsed(files[PurePosixPath(model.name, "config.pbtxt")])
        chat = resolved[model.name].chat
        values = {key: value.string_value for key, value in config.parameters.items()}
        assert (config.name, config.backend, config.max_batch_size) == (model.name, "vllm", 0)
        assert config.model_transaction_policy.decoupled
        assert values.get("chat_template") == (chat.template or None)
        assert (values.get("bos_token", ""), values.get("eos_token", "")) == (chat.bos_token, chat.eos_token)
        arguments = json.loads(files[PurePosixPath(model.name, "1/model.json")])
        assert arguments["model"] == "reference"
        assert arguments.get("tensor_parallel_size", 1) == model.tensor_parallel
        assert (PurePosixPath(model.name, "1/multi_lora.json") in files) == bool(model.lora)


if __name__ == "__main__":
    write_repository(render_repository(parse_spec(SPEC), RESOLVED), GOLDEN)
    (GOLDEN / ".tritonfleet.json").unlink()
