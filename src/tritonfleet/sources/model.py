"""What a resolved source is, and the checks that a folder really holds a model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tritonfleet.errors import SourceError

#: ``metadata`` is enough to render a repository: config and chat template, no weights.
Want = Literal["model", "adapter", "metadata"]

#: Files with what must be known about a model before it runs; all small.
METADATA_FILES = (
    "config.json",
    "params.json",
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "chat_template.json",
    "model.safetensors.index.json",
)
#: A model folder has one of these: Hugging Face's layout, Mistral's own layout.
CONFIG_FILES = ("config.json", "params.json")
WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".engine")
#: What a file looks like in a git checkout whose large files were not fetched.
LFS_POINTER = b"version https://git-lfs"


@dataclass(frozen=True)
class ChatTemplate:
    """A model's own way to write a conversation as one prompt."""

    template: str | None = None
    """Jinja text in transformers' dialect; None when the model has none."""
    bos_token: str = ""
    """Text that begins a sequence; empty when the model has none."""
    eos_token: str = ""
    """Text that ends an answer; empty when the model has none."""


@dataclass(frozen=True)
class ResolvedModel:
    """A source whose files are on this machine."""

    source: str
    """The source as the spec has it."""
    kind: Literal["folder", "hub", "objects", "demo"]
    """Where it came from."""
    path: Path
    """Folder of the model or adapter, or one .gguf file."""
    reference: str
    """How another program names the same model: an absolute path, a Hub id, or the object store's address."""
    revision: str | None = None
    """Commit on the Hub, or a digest of the objects' names and versions; None for folders."""
    chat: ChatTemplate = ChatTemplate()
    """Chat template; empty for adapters and .gguf files."""


class NoConfig(SourceError):
    """The source is there, and holds no config.json; a .gguf file may be all that it holds."""


def require(folder: Path, source: str, want: Want) -> None:
    """Raise SourceError, saying what is missing, unless *folder* holds what is wanted."""
    if want == "adapter":
        if not (folder / "adapter_config.json").is_file():
            raise SourceError(
                f"{source}: {folder} has no adapter_config.json, so it is no LoRA adapter; "
                "name the folder that PEFT's save_pretrained wrote"
            )
    elif not any((folder / name).is_file() for name in CONFIG_FILES):
        raise NoConfig(f"{source}: {folder} has no config.json, so it is no model{_config_elsewhere(folder)}")
    if want != "metadata":
        _require_weights(folder, source)


def _config_elsewhere(folder: Path) -> str:
    found = sorted(folder.glob("*/config.json")) or sorted(folder.glob("snapshots/*/config.json"))
    if found:
        return f"; there is one in {found[0].parent}: name that folder"
    if any(folder.glob("*.gguf")):
        return "; for a .gguf model name the file itself and use `engine: llamacpp`"
    return "; name the folder that save_pretrained wrote, or that the Hub's download made"


def _require_weights(folder: Path, source: str) -> None:
    weights = [path for path in folder.iterdir() if path.suffix in WEIGHT_SUFFIXES and path.is_file()]
    if not weights:
        raise SourceError(
            f"{source}: {folder} has no weights ({', '.join(WEIGHT_SUFFIXES)}); was it copied completely?"
        )
    for path in weights:
        with path.open("rb") as file:
            if file.read(len(LFS_POINTER)) == LFS_POINTER:
                raise SourceError(
                    f"{source}: {path} is a git-lfs pointer, not the weights; run `git lfs pull` in {folder}"
                )
    for index in folder.glob("*.safetensors.index.json"):
        _require_shards(folder, index, source)


def _require_shards(folder: Path, index: Path, source: str) -> None:
    names = set(_read_json(index, source).get("weight_map", {}).values())
    missing = sorted(name for name in names if not (folder / str(name)).is_file())
    # A folder may hold the same weights in another split, with an index left over from this one.
    if missing and len(missing) < len(names):
        raise SourceError(
            f"{source}: {folder} lacks {len(missing)} of {len(names)} weight files that {index.name} names, "
            f"first {missing[0]}; copy it again"
        )


def read_chat_template(folder: Path, source: str) -> ChatTemplate:
    """Return the chat template and special tokens of the model in *folder*.

    The places are those of transformers, first match wins: ``chat_template.jinja``, ``chat_template.json``,
    ``tokenizer_config.json``; of several named templates the one called ``default``.
    """
    tokenizer = _read_json(folder / "tokenizer_config.json", source)
    special = _read_json(folder / "special_tokens_map.json", source)
    file = folder / "chat_template.jinja"
    template: Any
    if file.is_file():
        template = _read_text(file, source)
    else:
        template = _read_json(folder / "chat_template.json", source).get("chat_template")
        template = template or tokenizer.get("chat_template")
    return ChatTemplate(
        template=_default_template(template),
        bos_token=_token(tokenizer.get("bos_token") or special.get("bos_token")),
        eos_token=_token(tokenizer.get("eos_token") or special.get("eos_token")),
    )


def _default_template(value: Any) -> str | None:
    """Return the template out of the three forms that tokenizer_config.json knows: text, list, mapping."""
    if isinstance(value, list):
        value = {str(entry.get("name")): entry.get("template") for entry in value if isinstance(entry, dict)}
    if isinstance(value, dict):
        value = value.get("default") or next(iter(value.values()), None)
    return _clean(value) if isinstance(value, str) and value else None


def _token(value: Any) -> str:
    """Return a token's text, given as text or as a serialised AddedToken."""
    if isinstance(value, Mapping):
        value = value.get("content")
    return _clean(value) if isinstance(value, str) else ""


def _clean(text: str) -> str:
    """Replace lone surrogates, which JSON can hold and UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _read_text(path: Path, source: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as err:
        raise SourceError(f"{source}: {path} cannot be read: {err}") from err


def _read_json(path: Path, source: str) -> dict[str, Any]:
    """Return the object in *path*; an absent file counts as an empty one."""
    if not path.is_file():
        return {}
    try:
        data = json.loads(_read_text(path, source))
    except ValueError as err:
        raise SourceError(f"{source}: {path} is not JSON: {err}") from err
    if not isinstance(data, dict):
        raise SourceError(f"{source}: {path} holds no JSON object")
    return data
