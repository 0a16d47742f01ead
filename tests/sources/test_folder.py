"""Sources that are folders, and the demo models."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.sources.conftest import TEMPLATE, model_files, write_files
from tritonfleet.errors import SourceError
from tritonfleet.sources import ResolvedModel, Want, resolve_source


def resolve(source: str, tmp_path: Path, want: Want = "model") -> ResolvedModel:
    """Resolve *source* as written in a spec that lies in *tmp_path*."""
    return resolve_source(source, base=tmp_path, cache=tmp_path / "cache", environ={"HOME": str(tmp_path)}, want=want)


@pytest.mark.parametrize("source", ["model", "./model", "~/model", "other/../model", "model/"])
def test_folders_are_found_from_the_spec_and_from_home(source: str, model_folder: Path) -> None:
    """Relative folders lie beside the spec; ~ is the home folder."""
    model = resolve(source, model_folder.parent)
    assert model.path == model_folder
    assert (model.kind, model.reference) == ("folder", str(model_folder))
    assert (model.chat.template, model.chat.bos_token, model.chat.eos_token) == (TEMPLATE, "<s>", "</s>")


def test_an_absolute_folder_is_taken_as_it_is(model_folder: Path) -> None:
    """The spec's folder plays no part."""
    assert resolve(str(model_folder), Path("/")).path == model_folder


def test_a_gguf_file_is_a_model(tmp_path: Path) -> None:
    """llama.cpp reads one file."""
    write_files(tmp_path, {"a.gguf": b"GGUF"})
    assert resolve("a.gguf", tmp_path).path == tmp_path / "a.gguf"


def test_an_adapter_needs_its_own_config(tmp_path: Path) -> None:
    """A LoRA adapter has adapter_config.json and no chat template; a model is refused in its place."""
    write_files(tmp_path / "lora", {"adapter_config.json": b"{}", "adapter_model.safetensors": b"w"})
    assert resolve("lora", tmp_path, "adapter").chat.template is None
    write_files(tmp_path / "model", model_files())
    with pytest.raises(SourceError, match=r"no adapter_config.json, so it is no LoRA adapter"):
        resolve("model", tmp_path, "adapter")


def test_metadata_needs_no_weights(tmp_path: Path) -> None:
    """A repository can be rendered where the weights are not."""
    files = model_files()
    del files["model.safetensors"]
    write_files(tmp_path / "model", files)
    assert resolve("model", tmp_path, "metadata").chat.template == TEMPLATE
    with pytest.raises(SourceError, match="has no weights"):
        resolve("model", tmp_path)


def test_a_demo_model_is_in_the_package() -> None:
    """demo://llama2 has its own chat template."""
    model = resolve("demo://llama2", Path("/"), "metadata")
    assert model.kind == "demo"
    assert model.chat.template is not None
    with pytest.raises(SourceError, match=r"demo://lama2: .*[Dd]id you mean demo://llama2\?"):
        resolve("demo://lama2", Path("/"))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("meta-llama/Llama-2-7b-chat-hf", r"there is no folder .*write hf://meta-llama/Llama-2-7b-chat-hf$"),
        ("./mode", r"there is no folder .*/mode; did you mean .*/model\?$"),
        ("./nothing/here", r"there is no folder .*/nothing/here$"),
        ("model/config.json", r"is a file; name the model's folder"),
        ("empty", r"has no config.json, so it is no model; name the folder that save_pretrained wrote"),
        (".", r"has no config.json.*there is one in .*: name that folder"),
        ("gguf", r"for a .gguf model name the file itself"),
        ("lfs", r"model.safetensors is a git-lfs pointer.*run `git lfs pull`"),
        ("shards", r"lacks 1 of 2 weight files .* first model-00002.safetensors; copy it again"),
        ("broken", r"tokenizer_config.json is not JSON"),
        ("list", r"tokenizer_config.json holds no JSON object"),
        ("latin", r"chat_template.jinja cannot be read"),
        ("ftp://host/model", r"ftp:// is not a known source"),
    ],
)
def test_what_is_wrong_with_a_folder_is_named(source: str, message: str, model_folder: Path) -> None:
    """Each message begins with the source and says what to do."""
    base = model_folder.parent
    (base / "empty").mkdir()
    write_files(base / "gguf", {"a.gguf": b"GGUF"})
    write_files(base / "lfs", model_files(weights=b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"))
    index = {"weight_map": {"a": "model-00001.safetensors", "b": "model-00002.safetensors"}}
    write_files(
        base / "shards",
        {
            "config.json": b"{}",
            "model-00001.safetensors": b"w",
            "model.safetensors.index.json": json.dumps(index).encode(),
        },
    )
    write_files(base / "broken", model_files() | {"tokenizer_config.json": b"{"})
    write_files(base / "list", model_files() | {"tokenizer_config.json": b"[]"})
    write_files(base / "latin", model_files() | {"chat_template.jinja": b"\xe4"})
    with pytest.raises(SourceError, match=message):
        resolve(source, base)


def test_home_must_be_known_for_a_tilde(tmp_path: Path) -> None:
    """Without HOME a ~ is no folder called ~."""
    with pytest.raises(SourceError, match="HOME is not set"):
        resolve_source("~/model", base=tmp_path, cache=tmp_path, environ={})
