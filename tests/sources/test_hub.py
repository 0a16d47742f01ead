"""Sources on the Hugging Face Hub, through the Hub's own client against a Hub in this process."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tests.sources.conftest import TEMPLATE, FakeHub, model_files, write_files
from tritonfleet.errors import SourceError
from tritonfleet.progress import Transfer
from tritonfleet.sources import ResolvedModel, Want, resolve_source

NOWHERE = "http://127.0.0.1:9"
"""Port 9 (discard) answers nobody."""


@pytest.fixture
def environ(hub: FakeHub, tmp_path: Path) -> dict[str, str]:
    """An environment that knows the Hub and keeps its cache in the test's folder."""
    return {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "HOME": str(tmp_path)}


class Resolver:
    """Resolves with the test's folders."""

    def __init__(self, tmp_path: Path, environ: dict[str, str]) -> None:
        self._tmp_path = tmp_path
        self.environ = environ
        self.seen: list[Transfer] = []

    def __call__(self, source: str, want: Want = "model") -> ResolvedModel:
        return resolve_source(
            source,
            base=self._tmp_path,
            cache=self._tmp_path / "cache",
            environ=self.environ,
            progress=self.seen.append,
            want=want,
        )


@pytest.fixture
def resolve(tmp_path: Path, environ: dict[str, str]) -> Resolver:
    """Resolve a source with the test's folders."""
    return Resolver(tmp_path, environ)


def test_a_model_is_downloaded_with_its_commit_and_template(hub: FakeHub, resolve: Resolver) -> None:
    """The folder holds the files; commit, Hub id and chat template are told."""
    model = resolve("hf://org/name")
    assert (model.kind, model.reference, model.revision) == ("hub", "org/name", hub.commit)
    assert model.chat.template == TEMPLATE
    assert {path.name: path.read_bytes() for path in model.path.iterdir()} == hub.files


def test_progress_ends_at_the_size_of_the_files(hub: FakeHub, resolve: Resolver) -> None:
    """The last report says that every byte is there."""
    resolve("hf://org/name")
    size = sum(map(len, hub.files.values()))
    assert resolve.seen[-1] == Transfer("hf://org/name", size, size)
    assert all(transfer.total == size for transfer in resolve.seen)


def test_what_lies_in_the_cache_is_not_downloaded_again(hub: FakeHub, resolve: Resolver) -> None:
    """A second resolve asks for the commit and fetches nothing."""
    first = resolve("hf://org/name")
    hub.requests.clear()
    resolve.seen.clear()
    assert resolve("hf://org/name") == first
    assert hub.downloads() == []
    assert resolve.seen == []


def test_only_changed_files_are_downloaded(hub: FakeHub, resolve: Resolver) -> None:
    """After a new commit only the file that differs is fetched."""
    resolve("hf://org/name")
    hub.requests.clear()
    hub.commit = "b" * 40
    hub.files["config.json"] = b'{"architectures": ["MistralForCausalLM"]}'
    model = resolve("hf://org/name")
    assert model.revision == "b" * 40
    assert hub.downloads() == ["config.json"]


def test_a_pinned_commit_that_is_complete_needs_no_network(
    hub: FakeHub, resolve: Resolver, environ: dict[str, str]
) -> None:
    """A commit cannot change, so the Hub is not asked again."""
    source = f"hf://org/name@{hub.commit}"
    first = resolve(source)
    environ["HF_ENDPOINT"] = NOWHERE
    assert resolve(source) == first


def test_without_network_the_last_complete_copy_serves(
    resolve: Resolver, environ: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """A branch falls back to the commit seen last, with a warning."""
    first = resolve("hf://org/name")
    environ["HF_ENDPOINT"] = NOWHERE
    with caplog.at_level(logging.WARNING):
        assert resolve("hf://org/name") == first
    assert "cannot reach" in caplog.text


def test_offline_mode_asks_nobody(hub: FakeHub, resolve: Resolver, environ: dict[str, str]) -> None:
    """HF_HUB_OFFLINE is obeyed: no request, the cached copy or an error."""
    environ["HF_HUB_OFFLINE"] = "1"
    with pytest.raises(SourceError, match="HF_HUB_OFFLINE is set; and there is no copy"):
        resolve("hf://org/name")
    assert hub.requests == []


def test_an_interrupted_download_is_not_used_and_goes_on(
    hub: FakeHub, resolve: Resolver, environ: dict[str, str]
) -> None:
    """A model whose weights did not come is an error, offline too; the next try fetches only the rest."""
    hub.broken = {"model.safetensors"}
    with pytest.raises(SourceError, match="the storage is broken"):
        resolve("hf://org/name")
    environ["HF_HUB_OFFLINE"] = "1"
    with pytest.raises(SourceError, match=r"the copy in the cache is not complete: .* no weights"):
        resolve(f"hf://org/name@{hub.commit}")
    del environ["HF_HUB_OFFLINE"]
    hub.broken = set()
    hub.requests.clear()
    resolve("hf://org/name")
    assert "model.safetensors" in hub.downloads()
    assert "config.json" not in hub.downloads()


def test_a_copy_that_another_program_downloaded_serves_offline(
    hub: FakeHub, resolve: Resolver, environ: dict[str, str], tmp_path: Path
) -> None:
    """A complete snapshot in the Hub's cache is enough without network."""
    folder = tmp_path / "hf/hub/models--org--name"
    write_files(folder / "snapshots" / hub.commit, model_files())
    write_files(folder, {"refs/main": hub.commit.encode()})
    environ["HF_HUB_OFFLINE"] = "1"
    assert resolve("hf://org/name").revision == hub.commit


def test_metadata_leaves_the_weights_on_the_hub(hub: FakeHub, resolve: Resolver) -> None:
    """Rendering needs config and template only."""
    model = resolve("hf://org/name", "metadata")
    assert model.chat.template == TEMPLATE
    assert not (model.path / "model.safetensors").exists()
    assert "model.safetensors" not in hub.downloads()


def test_the_token_of_the_environment_is_sent(hub: FakeHub, resolve: Resolver, environ: dict[str, str]) -> None:
    """HF_TOKEN reaches the Hub."""
    environ["HF_TOKEN"] = "hf_secret"
    resolve("hf://org/name")
    assert "Bearer hf_secret" in hub.tokens


def test_one_gguf_file_of_a_repository(hub: FakeHub, resolve: Resolver) -> None:
    """hf://org/name/file.gguf takes that file alone."""
    hub.files = {"a.Q4.gguf": b"four", "a.Q8.gguf": b"eight"}
    model = resolve("hf://org/name/a.Q4.gguf")
    assert model.path.read_bytes() == b"four"
    assert model.reference == "org/name/a.Q4.gguf"
    assert hub.downloads() == ["a.Q4.gguf"]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ((403, "GatedRepo", "gated"), r"is gated; ask for access at .*/org/name, then set HF_TOKEN"),
        ((404, "RepoNotFound", "no"), r"no public model of this name.*if it is private, set HF_TOKEN"),
        ((403, "", "Forbidden by an organisation"), r"the Hub refuses: "),
        ((500, "", "Oops"), r"cannot reach http.*check the network"),
    ],
)
def test_what_the_hub_says_becomes_a_next_step(
    hub: FakeHub, resolve: Resolver, error: tuple[int, str, str], message: str
) -> None:
    """Each refusal names the source and what to do."""
    hub.error = error
    with pytest.raises(SourceError, match=rf"^hf://org/name: .*{message}"):
        resolve("hf://org/name")


def test_a_gated_model_with_a_token_says_that_access_is_missing(
    hub: FakeHub, resolve: Resolver, environ: dict[str, str]
) -> None:
    """Setting a token again would not help there."""
    environ["HF_TOKEN"] = "hf_secret"
    hub.error = (403, "GatedRepo", "gated")
    with pytest.raises(SourceError, match="the account of the token in use has no access yet"):
        resolve("hf://org/name")


def test_a_refused_token_is_named(hub: FakeHub, resolve: Resolver, environ: dict[str, str]) -> None:
    """401 with a token means the token, or a name that does not exist."""
    environ["HF_TOKEN"] = "hf_wrong"
    hub.error = (401, "", "Invalid username or password.")
    with pytest.raises(SourceError, match="refuses the token"):
        resolve("hf://org/name")


def test_an_unknown_revision_gets_its_near_match(resolve: Resolver) -> None:
    """The Hub's branches are compared with what was typed."""
    with pytest.raises(SourceError, match=r"no revision 'gptq-4bits'; did you mean 'gptq-4bit'\?"):
        resolve("hf://org/name@gptq-4bits")


def test_an_unknown_gguf_file_gets_its_near_match(hub: FakeHub, resolve: Resolver) -> None:
    """The repository's files are compared with what was typed."""
    hub.files = {"a.Q4_K_M.gguf": b"four"}
    with pytest.raises(SourceError, match=r"no file a.Q4_KM.gguf; did you mean a.Q4_K_M.gguf\?"):
        resolve("hf://org/name/a.Q4_KM.gguf")


def test_an_unreachable_hub_names_network_and_mirror(resolve: Resolver, environ: dict[str, str]) -> None:
    """No network and no copy: say both."""
    environ["HF_ENDPOINT"] = NOWHERE
    with pytest.raises(SourceError, match=r"cannot reach http://127.0.0.1:9.*HF_ENDPOINT.*there is no copy"):
        resolve("hf://org/name")


def test_what_progress_raises_passes_through(hub: FakeHub, tmp_path: Path, environ: dict[str, str]) -> None:
    """A caller ends a download by raising."""

    class Enough(Exception):
        pass

    def stop(transfer: Transfer) -> None:
        raise Enough

    with pytest.raises(Enough):
        resolve_source("hf://org/name", base=tmp_path, cache=tmp_path, environ=environ, progress=stop)
