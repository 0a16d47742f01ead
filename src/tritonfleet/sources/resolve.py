"""One function from the text of a source to a folder on this machine."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path

from tritonfleet.errors import SourceError
from tritonfleet.progress import Progress, silent
from tritonfleet.sources.model import ChatTemplate, ResolvedModel, Want, read_chat_template, require
from tritonfleet.spec.models import check_source

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def resolve_source(
    source: str,
    *,
    base: Path,
    cache: Path,
    environ: Mapping[str, str],
    progress: Progress = silent,
    want: Want = "model",
) -> ResolvedModel:
    """Return the folder of *source*, downloading what the cache lacks.

    It blocks while it downloads: call it in a thread. What *progress* raises ends the download; the next call
    goes on where it ended.

    Args:
        source: a folder (relative ones lie under *base*), a .gguf file, hf://, s3://, gs://, az:// or demo://.
        base: folder of the spec.
        cache: tritonfleet's cache folder (``layout.cache_folder``); Hub models go to the Hub's own cache.
        environ: the environment, for HF_*, AWS_*, HOME.
        progress: told how far the download is.
        want: a model, a LoRA adapter, or only the small files that ``render_repository`` needs.

    Raises SourceError naming the source, what is wrong with it, and what to do.
    """
    try:
        check_source(source)
    except ValueError as err:
        raise SourceError(str(err)) from err
    scheme, separator, rest = source.partition("://")
    if not separator:
        return _folder(source, base=base, environ=environ, want=want)
    if scheme == "demo":
        return _demo(source, rest, want)
    if scheme == "hf":
        from tritonfleet.sources.hub import resolve_hub

        return resolve_hub(source, cache=cache, environ=environ, progress=progress, want=want)
    from tritonfleet.sources.snapshot import resolve_objects

    return resolve_objects(source, cache=cache, environ=environ, progress=progress, want=want)


def _folder(source: str, *, base: Path, environ: Mapping[str, str], want: Want) -> ResolvedModel:
    path = local_path(source, base=base, environ=environ)
    if path.is_file() and path.suffix == ".gguf":
        return ResolvedModel(source, "folder", path, str(path))
    if path.is_file():
        raise SourceError(f"{source}: {path} is a file; name the model's folder, or a .gguf file")
    if not path.is_dir():
        raise SourceError(f"{source}: there is no folder {path}{_hint(source, path)}")
    try:
        require(path, source, want)
    except OSError as err:
        raise SourceError(f"{source}: {path} cannot be read: {err.strerror}") from err
    return ResolvedModel(source, "folder", path, str(path), chat=chat_of(path, source, want))


def local_path(source: str, *, base: Path, environ: Mapping[str, str]) -> Path:
    """Return the absolute path of a local source; ``~`` is the home folder, relative ones lie under *base*."""
    if source == "~" or source.startswith("~/"):
        home = environ.get("HOME")
        if not home:
            raise SourceError(f"{source}: HOME is not set, so ~ means nothing; write the whole path")
        source = home + source[1:]
    return Path(os.path.normpath(base.absolute() / source))


def chat_of(folder: Path, source: str, want: Want) -> ChatTemplate:
    """Return the chat template of the model in *folder*; an adapter has none of its own."""
    return ChatTemplate() if want == "adapter" else read_chat_template(folder, source)


def _hint(source: str, path: Path) -> str:
    if HUB_ID.fullmatch(source) and not source.startswith("."):
        return f"; for the model of that name on the Hugging Face Hub write hf://{source}"
    siblings = [entry.name for entry in path.parent.iterdir() if entry.is_dir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, siblings, n=1)
    return f"; did you mean {path.parent / near[0]}?" if near else ""


def _demo(source: str, name: str, want: Want) -> ResolvedModel:
    from tritonfleet.demo import demo_model_path

    path = demo_model_path(name.strip("/"))
    require(path, source, want)
    return ResolvedModel(source, "demo", path, str(path), chat=chat_of(path, source, want))
