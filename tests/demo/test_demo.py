"""The demo models: found by name, small, complete, and readable with Hugging Face's own formats."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import Environment, TemplateError
from tokenizers import Tokenizer

from tritonfleet import demo
from tritonfleet.demo import demo_model_path, demo_names
from tritonfleet.errors import SourceError

NAMES = ("llama2", "mistral7b")
WEIGHTS_LIMIT_BYTES = 12_000_000
FILES = (
    "README.md",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
)


def read_json(name: str, file: str) -> dict[str, Any]:
    value = json.loads((demo_model_path(name) / file).read_text(encoding="utf-8"))
    assert isinstance(value, dict)
    return value


def weights_header(name: str) -> dict[str, Any]:
    """The JSON header of model.safetensors: an 8-byte little-endian length, then that many bytes."""
    with (demo_model_path(name) / "model.safetensors").open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    assert isinstance(header, dict)
    header.pop("__metadata__", None)
    return header


def tokenizer(name: str) -> Tokenizer:
    return Tokenizer.from_file(str(demo_model_path(name) / "tokenizer.json"))


TOKENIZERS = {name: tokenizer(name) for name in NAMES}


def render(name: str, *messages: tuple[str, str]) -> str:
    def raise_exception(message: str) -> None:
        raise TemplateError(message)

    environment = Environment(autoescape=False)
    environment.globals["raise_exception"] = raise_exception
    template = environment.from_string(read_json(name, "tokenizer_config.json")["chat_template"])
    chat = [{"role": role, "content": content} for role, content in messages]
    return template.render(messages=chat, bos_token="<s>", eos_token="</s>", add_generation_prompt=True)


def test_two_demo_models_ship() -> None:
    """The names are those of the demo fleet."""
    assert demo_names() == NAMES


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("file", FILES)
def test_the_checkpoint_is_complete(name: str, file: str) -> None:
    """Every file that transformers and vLLM look for is there and not empty."""
    assert (demo_model_path(name) / file).stat().st_size > 0


@pytest.mark.parametrize(("typed", "near"), [("lama2", "llama2"), ("LLAMA2", "llama2"), ("mistral", "mistral7b")])
def test_a_mistyped_name_gets_the_near_match(typed: str, near: str) -> None:
    """The message names what was typed, what was probably meant, and what exists."""
    with pytest.raises(SourceError) as caught:
        demo_model_path(typed)
    message = str(caught.value)
    assert f"demo://{typed}" in message
    assert f"Did you mean demo://{near}?" in message
    assert all(name in message for name in NAMES)


def test_a_name_like_nothing_gets_the_list() -> None:
    """Without a near match the message only lists the models."""
    with pytest.raises(SourceError, match=r"Demo models: llama2, mistral7b\.") as caught:
        demo_model_path("qwen-72b")
    assert "Did you mean" not in str(caught.value)


def test_missing_weights_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkout without the trained weights says which file is missing and what to do."""
    (tmp_path / "llama2").mkdir()
    (tmp_path / "llama2" / "config.json").write_text("{}")
    monkeypatch.setattr(demo, "_MODELS", tmp_path)
    with pytest.raises(SourceError, match=r"model\.safetensors is missing.*training/train\.py"):
        demo_model_path("llama2")


@pytest.mark.parametrize("name", NAMES)
def test_the_weights_are_small_bf16(name: str) -> None:
    """At most 12 MB, every tensor in bf16, and as many vocabulary rows as the config says."""
    assert (demo_model_path(name) / "model.safetensors").stat().st_size <= WEIGHTS_LIMIT_BYTES
    header = weights_header(name)
    assert {tensor["dtype"] for tensor in header.values()} == {"BF16"}
    config = read_json(name, "config.json")
    assert header["model.embed_tokens.weight"]["shape"] == [config["vocab_size"], config["hidden_size"]]


@pytest.mark.parametrize(
    ("name", "architecture", "window"),
    [("llama2", "LlamaForCausalLM", None), ("mistral7b", "MistralForCausalLM", 256)],
)
def test_the_architecture_is_the_named_one(name: str, architecture: str, window: int | None) -> None:
    """Each model has its own architecture, grouped-query attention and at least 512 tokens of context."""
    config = read_json(name, "config.json")
    assert config["architectures"] == [architecture]
    assert config.get("sliding_window") == window
    assert config["num_key_value_heads"] < config["num_attention_heads"]
    assert config["max_position_embeddings"] >= 512


@pytest.mark.parametrize("name", NAMES)
def test_token_ids_agree_everywhere(name: str) -> None:
    """Config, generation config and tokenizer mean the same BOS, EOS and vocabulary."""
    config, generation = read_json(name, "config.json"), read_json(name, "generation_config.json")
    tokens = TOKENIZERS[name]
    assert tokens.get_vocab_size() == config["vocab_size"]
    for key, token in (("bos_token_id", "<s>"), ("eos_token_id", "</s>")):
        assert config[key] == generation[key] == tokens.token_to_id(token)


@pytest.mark.parametrize("name", NAMES)
@given(text=st.text(max_size=60))
def test_any_text_survives_the_tokenizer(name: str, text: str) -> None:
    """Byte-level tokens can write everything, also what the corpus never had."""
    tokens = TOKENIZERS[name]
    if any(token in text for token in ("<s>", "</s>", "<unk>", "INST]", "SYS>>")):
        return
    assert tokens.decode(tokens.encode(text).ids, skip_special_tokens=False) == text


@pytest.mark.parametrize("name", NAMES)
def test_the_tokenizer_adds_no_bos(name: str) -> None:
    """BOS comes from the chat template alone, so no server can double it."""
    tokens = TOKENIZERS[name].encode("Hello", add_special_tokens=True).tokens
    assert "".join(tokens) == "Hello"


@pytest.mark.parametrize("name", NAMES)
def test_blanks_around_the_marks_do_not_matter(name: str) -> None:
    """Clients that write the template by hand, with or without blanks, send the same tokens."""
    spaced = TOKENIZERS[name].encode("<s>[INST] What is a GAN? [/INST]").ids
    assert spaced == TOKENIZERS[name].encode("<s>[INST]What is a GAN?\n[/INST] ").ids


@pytest.mark.parametrize("name", NAMES)
def test_korean_text_is_cheap(name: str) -> None:
    """A Korean greeting costs fewer tokens than it has syllables."""
    text = "안녕하세요, 만나서 반갑습니다!"
    assert len(TOKENIZERS[name].encode(text).ids) < len(text)


def test_llama2_template() -> None:
    """Llama 2's form: the system prompt inside the first turn, BOS and EOS around every turn."""
    assert render("llama2", ("user", "Hi ")) == "<s>[INST] Hi [/INST]"
    chat = (("system", "Be brief."), ("user", "Hi"), ("assistant", "Hello!"), ("user", "Bye"))
    assert render("llama2", *chat) == (
        "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi [/INST]Hello!</s><s>[INST] Bye [/INST]"
    )


def test_mistral7b_template() -> None:
    """Mistral's form: no system block, and one BOS for the whole conversation."""
    assert render("mistral7b", ("user", "Hi")) == "<s>[INST] Hi [/INST]"
    chat = (("system", "Be brief."), ("user", "Hi"), ("assistant", "Hello!"), ("user", "Bye"))
    assert render("mistral7b", *chat) == "<s>[INST] Be brief.\n\nHi [/INST]Hello!</s>[INST] Bye [/INST]"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "chat", [(("assistant", "Hello!"),), (("user", "a"), ("user", "b")), (("user", "a"), ("tool", "b"))]
)
def test_templates_refuse_what_they_were_not_trained_on(name: str, chat: tuple[tuple[str, str], ...]) -> None:
    """Turns in the wrong order, or an unknown role, are an error rather than a strange prompt."""
    with pytest.raises(TemplateError):
        render(name, *chat)


@pytest.mark.parametrize("name", NAMES)
def test_the_model_card_ships_beside_the_weights(name: str) -> None:
    """The README in the checkpoint is the card in training/cards."""
    card = Path(__file__).parents[2] / "training" / "cards" / f"{name}.md"
    assert (demo_model_path(name) / "README.md").read_text(encoding="utf-8") == card.read_text(encoding="utf-8")
