"""Models on the Hugging Face Hub, through its own client and into its own cache (shared with other programs).

No exception of huggingface_hub or its HTTP library leaves this module; all become SourceError with the next step.
"""

from __future__ import annotations

import difflib
import glob
import json
import logging
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote

from tritonfleet.errors import SourceError
from tritonfleet.progress import Meter, Progress
from tritonfleet.sources.model import ChatTemplate, ResolvedModel, Want, read_chat_template, require
from tritonfleet.sources.selection import choose_files
from tritonfleet.sources.snapshot import require_space

log = logging.getLogger(__name__)

#: For one question about a model; downloads have the Hub client's own deadlines.
QUESTION_SECONDS = 15.0
_SOURCE = re.compile(r"hf://([\w.-]+/[\w.-]+)(?:/([\w./-]+\.gguf))?(?:@(.+))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class HubSource:
    """What an hf:// source says."""

    text: str
    repo: str
    """``org/name``."""
    file: str | None
    """One .gguf file of the repository."""
    revision: str
    """Branch, tag or commit."""


@dataclass(frozen=True)
class Known:
    """A download that was complete: what it was, and its files with their sizes in bytes."""

    commit: str
    files: Mapping[str, int]


def parse_hub(source: str) -> HubSource:
    """Return the parts of an hf:// source."""
    found = _SOURCE.fullmatch(source)
    if not found:
        raise SourceError(f"{source!r} is not of the form hf://org/name or hf://org/name@revision")
    return HubSource(source, repo=found[1], file=found[2], revision=found[3] or "main")


def resolve_hub(
    source: str, *, cache: Path, environ: Mapping[str, str], progress: Progress, want: Want
) -> ResolvedModel:
    """Return the model at the Hub address *source*, downloading what the Hub's cache lacks.

    A Hub that cannot be reached is no error while a complete copy is in the cache: it is used, with a warning.
    """
    hub = Hub(parse_hub(source), cache, environ, want)
    folder, commit = hub.bring(progress)
    name = hub.source.file or (hub.only_gguf(folder) if want == "model" else None)
    if name:
        return ResolvedModel(source, "hub", folder / name, f"{hub.source.repo}/{name}", commit)
    require(folder, source, want)
    chat = ChatTemplate() if want == "adapter" else read_chat_template(folder, source)
    return ResolvedModel(source, "hub", folder, hub.source.repo, commit, chat)


class Hub:
    """One model on the Hub, and its copy in the Hub's cache."""

    def __init__(self, source: HubSource, cache: Path, environ: Mapping[str, str], want: Want) -> None:
        self.source = source
        self._want = want
        self._endpoint = environ.get("HF_ENDPOINT") or "https://huggingface.co"
        self._token = environ.get("HF_TOKEN") or environ.get("HUGGING_FACE_HUB_TOKEN") or None
        self._offline = environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")
        self._cache = _hub_cache(environ)
        part = f"{source.file or want}@{source.revision}"
        self._record = cache / "sources" / "hf" / source.repo.replace("/", "--") / f"{quote(part, safe='@')}.json"

    def bring(self, progress: Progress) -> tuple[Path, str]:
        """Return folder and commit of a complete copy."""
        known = self._known()
        if known and (self._offline or _COMMIT.fullmatch(self.source.revision)):
            return self._folder(known.commit), known.commit
        if self._offline:
            return self._without_network(None)
        try:
            wanted = self._ask()
        except _Unreachable as err:
            if known:
                log.warning("%s; using commit %s from the cache", err, known.commit)
                return self._folder(known.commit), known.commit
            return self._without_network(err)
        if wanted != known:
            self._download(wanted, progress)
            self._remember(wanted)
        return self._folder(wanted.commit), wanted.commit

    def only_gguf(self, folder: Path) -> str | None:
        """Return the name of the .gguf file in a folder that holds no other kind of model."""
        if (folder / "config.json").exists() or (folder / "params.json").exists():
            return None
        return next((path.name for path in folder.glob("*.gguf")), None)

    def _folder(self, commit: str) -> Path:
        return self._cache / f"models--{self.source.repo.replace('/', '--')}" / "snapshots" / commit

    def _known(self) -> Known | None:
        """Return the last complete download if all its files are still there."""
        try:
            data = json.loads(self._record.read_text(encoding="utf-8"))
            known = Known(data["commit"], data["files"])
            folder = self._folder(known.commit)
            whole = all((folder / name).stat().st_size == size for name, size in known.files.items())
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return known if whole else None

    def _remember(self, known: Known) -> None:
        self._record.parent.mkdir(parents=True, exist_ok=True)
        part = self._record.with_name(f"{self._record.name}.part")
        part.write_text(json.dumps(asdict(known)), encoding="utf-8")
        part.replace(self._record)

    def _ask(self) -> Known:
        """Ask the Hub for the commit and the files that are wanted of it."""
        from huggingface_hub import HfApi

        source = self.source
        try:
            info = HfApi(endpoint=self._endpoint, token=self._token).model_info(
                source.repo, revision=source.revision, files_metadata=True, timeout=QUESTION_SECONDS
            )
        except Exception as err:  # the client's HTTP library changes with its version
            self._explain(err)
        sizes = {entry.rfilename: entry.size or 0 for entry in info.siblings or ()}
        if source.file:
            if source.file not in sizes:
                near = difflib.get_close_matches(source.file, sizes, n=1)
                hint = f"did you mean {near[0]}?" if near else f"see {self._page}/tree/{source.revision}"
                raise SourceError(f"{source.text}: the repository has no file {source.file}; {hint}")
            names: tuple[str, ...] = (source.file,)
        else:
            names = choose_files(sizes, source=source.text, want=self._want)
        return Known(info.sha or source.revision, {name: sizes[name] for name in names})

    def _download(self, wanted: Known, progress: Progress) -> None:
        from huggingface_hub import snapshot_download

        folder = self._folder(wanted.commit)
        missing = {name: size for name, size in wanted.files.items() if not (folder / name).is_file()}
        total = sum(missing.values())
        require_space(self._cache, total, self.source.text)
        meter = Meter(self.source.text, total, progress)
        try:
            snapshot_download(
                self.source.repo,
                revision=wanted.commit,
                endpoint=self._endpoint,
                token=self._token,
                cache_dir=self._cache,
                # Names are given as patterns, so a name with brackets must not be read as one.
                allow_patterns=[glob.escape(name) for name in wanted.files],
                tqdm_class=_meter_class(meter),
            )
        except Exception as err:
            meter.reraise()
            self._explain(err)
        meter.finish()

    def _without_network(self, cause: _Unreachable | None) -> tuple[Path, str]:
        """Find a copy that another program downloaded; it must be complete."""
        source = self.source
        reason = str(cause) if cause else f"{source.text}: HF_HUB_OFFLINE is set"
        commit = source.revision
        if not _COMMIT.fullmatch(commit):
            ref = self._folder("").parent / "refs" / source.revision
            commit = ref.read_text(encoding="utf-8").strip() if ref.is_file() else ""
        folder = self._folder(commit)
        if not commit or not folder.is_dir() or (source.file and not (folder / source.file).is_file()):
            raise SourceError(f"{reason}; and there is no copy of the model in {self._cache}") from cause
        if not source.file and not (self._want == "model" and self.only_gguf(folder)):
            try:
                require(folder, source.text, self._want)
            except SourceError as err:
                raise SourceError(f"{reason}; and the copy in the cache is not complete: {err}") from err
        log.warning("%s; using commit %s from the cache", reason, commit)
        return folder, commit

    @property
    def _page(self) -> str:
        return f"{self._endpoint}/{self.source.repo}"

    def _explain(self, err: Exception) -> NoReturn:
        from huggingface_hub.errors import (
            GatedRepoError,
            HfHubHTTPError,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )

        text = self.source.text
        status = err.response.status_code if isinstance(err, HfHubHTTPError) and err.response is not None else None
        if isinstance(err, GatedRepoError):
            step = (
                "the account of the token in use has no access yet"
                if self._has_token()
                else "then set HF_TOKEN, or run `hf auth login`"
            )
            raise SourceError(f"{text}: this model is gated; ask for access at {self._page}, {step}") from err
        if isinstance(err, RevisionNotFoundError):
            raise SourceError(f"{text}: there is no revision {self.source.revision!r}{self._near_revision()}") from err
        if status == 401 and self._has_token():
            raise SourceError(
                f"{text}: the Hub refuses the token (HF_TOKEN or the Hub's login), or there is no such model; "
                f"check {self._page} and make a new token at {self._endpoint}/settings/tokens"
            ) from err
        if isinstance(err, RepositoryNotFoundError):
            raise SourceError(
                f"{text}: the Hub has no public model of this name; check the spelling at {self._page}; "
                "if it is private, set HF_TOKEN or run `hf auth login`"
            ) from err
        if status is not None and status < 500 and status not in (408, 429):
            raise SourceError(f"{text}: the Hub refuses: {_first_line(err)}") from err
        raise _Unreachable(
            f"{text}: cannot reach {self._endpoint}: {_first_line(err)}; check the network and the proxy, "
            "or set HF_ENDPOINT to a mirror"
        ) from err

    def _has_token(self) -> bool:
        from huggingface_hub import get_token

        return bool(self._token or get_token())

    def _near_revision(self) -> str:
        from huggingface_hub import HfApi

        try:
            refs = HfApi(endpoint=self._endpoint, token=self._token).list_repo_refs(self.source.repo)
        except Exception:  # only a hint
            return ""
        names = [ref.name for ref in (*refs.branches, *refs.tags)]
        near = difflib.get_close_matches(self.source.revision, names, n=1)
        return f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(names[:8])}"


class _Unreachable(SourceError):
    """The Hub cannot be reached, so a copy from earlier may stand in."""


def _hub_cache(environ: Mapping[str, str]) -> Path:
    """Return the Hub's cache folder by the Hub client's own rules."""
    home = environ.get("HF_HOME") or str(
        Path(environ.get("XDG_CACHE_HOME") or f"{environ.get('HOME', '/tmp')}/.cache") / "huggingface"  # noqa: S108
    )
    return Path(environ.get("HF_HUB_CACHE") or environ.get("HUGGINGFACE_HUB_CACHE") or f"{home}/hub")


def _first_line(err: Exception) -> str:
    return (str(err).strip().splitlines() or [type(err).__name__])[0]


def _meter_class(meter: Meter) -> type[Any]:
    """Return a stand-in for tqdm, which is how the Hub's client reports: it counts bytes and draws nothing."""
    from tqdm.auto import tqdm  # type: ignore[import-untyped]

    class Quiet(tqdm):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            # Of two bars the Hub's client gives, one counts bytes from the network and one bytes on the disk.
            self._counts = kwargs.get("unit") == "B" and not str(kwargs.get("desc", "")).startswith("Download")
            super().__init__(*args, **{**kwargs, "disable": True})

        def update(self, n: float | None = 1) -> bool | None:
            if self._counts:
                meter.add(int(n or 0))
            return None

    return Quiet
