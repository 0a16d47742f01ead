"""Sources in object stores, against an S3 server in this process."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from tests.sources.conftest import TEMPLATE, model_files
from tests.sources.s3 import Bucket
from tritonfleet.errors import SourceError
from tritonfleet.progress import Transfer, silent
from tritonfleet.sources import Progress, ResolvedModel, Want, resolve_source
from tritonfleet.sources.objects import Address, parse_address


class Resolver:
    """Resolves with the test's cache and the environment of the local S3 server."""

    def __init__(self, tmp_path: Path, environ: Mapping[str, str]) -> None:
        self.cache = tmp_path / "cache"
        self.environ = dict(environ)
        self.seen: list[Transfer] = []
        self.progress: Progress = self.seen.append

    def __call__(self, source: str, want: Want = "model") -> ResolvedModel:
        self.seen.clear()
        return resolve_source(
            source, base=Path("/"), cache=self.cache, environ=self.environ, progress=self.progress, want=want
        )

    @property
    def downloaded(self) -> int:
        """Bytes that the last call downloaded."""
        return self.seen[-1].done if self.seen else 0


@pytest.fixture
def resolve(tmp_path: Path, bucket: Bucket) -> Resolver:
    """Resolve a source with the test's cache."""
    return Resolver(tmp_path, bucket.environ)


@pytest.fixture
def source(bucket: Bucket) -> str:
    """The address of a complete model, beside another whose name begins alike."""
    bucket.put("models/llama", model_files())
    bucket.put("models/llama-big", model_files(weights=b"not these"))
    return f"s3://{bucket.name}/models/llama"


def size(files: Mapping[str, bytes]) -> int:
    """Return the bytes of *files*."""
    return sum(map(len, files.values()))


def test_a_model_is_copied_into_the_cache(source: str, resolve: Resolver) -> None:
    """Folder, address, a digest as revision, the chat template, and progress up to the size."""
    model = resolve(source)
    assert (model.kind, model.reference) == ("objects", source)
    assert model.chat.template == TEMPLATE
    assert {path.name: path.read_bytes() for path in model.path.iterdir()} == model_files()
    assert resolve.seen[-1] == Transfer(source, size(model_files()), size(model_files()))


def test_nothing_changed_means_nothing_downloaded(source: str, resolve: Resolver) -> None:
    """The second call only lists."""
    first = resolve(source)
    assert resolve(source) == first
    assert resolve.seen == []


def test_only_changed_files_are_downloaded(source: str, bucket: Bucket, resolve: Resolver) -> None:
    """The new state is a new folder; what did not change is shared with the old one, which stays as it was."""
    old = resolve(source)
    bucket.put("models/llama", {"config.json": b'{"new": true}'})
    new = resolve(source)
    assert resolve.downloaded == len(b'{"new": true}')
    assert new.path != old.path
    assert (new.path / "config.json").read_bytes() == b'{"new": true}'
    assert (old.path / "config.json").read_bytes() == model_files()["config.json"]
    assert (new.path / "model.safetensors").samefile(old.path / "model.safetensors")


def test_only_the_newest_two_states_stay_in_the_cache(source: str, bucket: Bucket, resolve: Resolver) -> None:
    """The cache does not grow with every new version."""
    folders = []
    for number in range(4):
        bucket.put("models/llama", {"config.json": b'{"n": %d}' % number})
        folders.append(resolve(source).path)
        os.utime(folders[-1], (number, number))
    assert [folder.is_dir() for folder in folders] == [False, False, True, True]


def test_an_interrupted_download_is_not_used_and_goes_on(source: str, resolve: Resolver) -> None:
    """What an interrupt leaves is no model; the next call fetches only what is missing."""

    def interrupt(transfer: Transfer) -> None:
        if transfer.done >= size(model_files()) // 2:
            raise KeyboardInterrupt

    resolve.progress = interrupt
    with pytest.raises(KeyboardInterrupt):
        resolve(source)
    assert not [path for path in resolve.cache.rglob("*.json") if path.parent.name == "model"]
    resolve.progress = resolve.seen.append
    model = resolve(source)
    assert {path.name: path.read_bytes() for path in model.path.iterdir()} == model_files()


def test_files_that_came_before_an_interrupt_are_kept(source: str, resolve: Resolver) -> None:
    """A download that ended half-way goes on where it ended."""
    model = resolve(source)
    partial = model.path.rename(model.path.with_name(f"{model.path.name}.partial"))
    (partial / "config.json").unlink()
    (partial / ".config.json.part").write_bytes(b"half")
    model = resolve(source)
    assert resolve.downloaded == len(model_files()["config.json"])
    assert sorted(path.name for path in model.path.iterdir()) == sorted(model_files())


def test_metadata_leaves_the_weights_in_the_store(source: str, resolve: Resolver) -> None:
    """Rendering needs config and template only."""
    model = resolve(source, "metadata")
    assert model.chat.template == TEMPLATE
    assert not (model.path / "model.safetensors").exists()


def test_folders_inside_a_model_are_kept(bucket: Bucket, resolve: Resolver) -> None:
    """Object names with slashes become folders."""
    bucket.put("m", model_files() | {"1_Pooling/config.json": b"{}"})
    assert (resolve(f"s3://{bucket.name}/m").path / "1_Pooling/config.json").read_bytes() == b"{}"


def test_one_gguf_object_is_a_model(bucket: Bucket, resolve: Resolver) -> None:
    """The address may name the file."""
    bucket.put("gguf", {"a.gguf": b"a", "b.gguf": b"b"})
    assert resolve(f"s3://{bucket.name}/gguf/b.gguf").path.read_bytes() == b"b"
    with pytest.raises(SourceError, match="there is no such object"):
        resolve(f"s3://{bucket.name}/gguf/c.gguf")


def test_an_adapter_is_copied(bucket: Bucket, resolve: Resolver) -> None:
    """LoRA adapters come from object stores as well."""
    bucket.put("lora", {"adapter_config.json": b"{}", "adapter_model.safetensors": b"w"})
    assert (resolve(f"s3://{bucket.name}/lora", "adapter").path / "adapter_model.safetensors").is_file()


def test_the_server_may_stand_in_the_address(source: str, bucket: Bucket, resolve: Resolver) -> None:
    """Triton's form s3://http://host:port/bucket/prefix needs no AWS_ENDPOINT_URL."""
    del resolve.environ["AWS_ENDPOINT_URL"]
    assert resolve(source.replace("s3://", f"s3://{bucket.url}/")).chat.template == TEMPLATE


def test_without_network_the_last_complete_copy_serves(
    source: str, resolve: Resolver, caplog: pytest.LogCaptureFixture
) -> None:
    """With a warning that says why."""
    first = resolve(source)
    resolve.environ["AWS_ENDPOINT_URL"] = "http://127.0.0.1:9"
    with caplog.at_level(logging.WARNING):
        assert resolve(source) == first
    assert "cannot reach" in caplog.text


def test_an_unreachable_store_names_network_and_endpoint(source: str, resolve: Resolver) -> None:
    """No copy either: an error within seconds."""
    resolve.environ["AWS_ENDPOINT_URL"] = "http://127.0.0.1:9"
    with pytest.raises(SourceError, match=r"cannot reach the s3 service.*check the network, and AWS_ENDPOINT_URL"):
        resolve(source)


def test_what_is_wrong_with_an_address_is_named(bucket: Bucket, resolve: Resolver) -> None:
    """A wrong prefix, a wrong bucket, a folder without a model."""
    with pytest.raises(SourceError, match="there are no objects under this prefix"):
        resolve(f"s3://{bucket.name}/nothing")
    with pytest.raises(SourceError, match=r"does not exist \(bucket no-such-bucket\)"):
        resolve("s3://no-such-bucket/model")
    bucket.put("text", {"README.md": b"hello"})
    with pytest.raises(SourceError, match=r"no config.json, so it is no model; it holds README.md"):
        resolve(f"s3://{bucket.name}/text")


def test_a_name_that_would_leave_the_folder_is_refused(bucket: Bucket, resolve: Resolver, tmp_path: Path) -> None:
    """An object's key is not trusted."""
    bucket.put("evil", model_files() | {"../../escaped": b"x"})
    with pytest.raises(SourceError, match="would leave the folder"):
        resolve(f"s3://{bucket.name}/evil")
    assert not list(tmp_path.rglob("escaped"))


def test_no_credentials_names_the_variables(
    source: str, resolve: Resolver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """botocore looks for profiles and roles first."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
        resolve.environ.pop(name, None)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(SourceError, match=r"no credentials: .*set AWS_ACCESS_KEY_ID"):
        resolve(source)


def test_a_missing_package_names_the_extra(resolve: Resolver) -> None:
    """gs:// and az:// are extras."""
    with pytest.raises(SourceError, match=r"gs:// needs the package gcsfs; run pip install 'tritonfleet\[gs\]'"):
        resolve("gs://bucket/model")
    with pytest.raises(SourceError, match=r"az:// needs the package adlfs; run pip install 'tritonfleet\[az\]'"):
        resolve("az://container/model")


@pytest.fixture
def memory_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryFileSystem]:
    """fsspec's own store in memory, in the place of gs://."""
    store = MemoryFileSystem()
    monkeypatch.setitem(sys.modules["fsspec.registry"]._registry, "gs", MemoryFileSystem)
    yield store
    store.rm("/", recursive=True)


def test_another_store_takes_the_same_way(memory_store: MemoryFileSystem, tmp_path: Path) -> None:
    """Nothing but the options is particular to S3."""
    for name, content in model_files().items():
        memory_store.pipe_file(f"/bucket/model/{name}", content)
    model = resolve_source("gs://bucket/model", base=tmp_path, cache=tmp_path, environ={}, progress=silent)
    assert model.chat.template == TEMPLATE


def test_a_full_disk_is_told_before_the_download(
    source: str, resolve: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sizes are known from the listing."""
    monkeypatch.setattr("tritonfleet.sources.snapshot.free_bytes", lambda path: 10)
    with pytest.raises(SourceError, match=r"needs \d+ B, but 10 B are free in .*TRITONFLEET_CACHE"):
        resolve(source)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s3://b/p/q", Address("s3", "b", "p/q")),
        ("s3://b", Address("s3", "b", "")),
        ("s3://b/p/", Address("s3", "b", "p")),
        ("gs://b/p", Address("gs", "b", "p")),
        ("s3://http://127.0.0.1:5055/b/p", Address("s3", "b", "p", "http://127.0.0.1:5055")),
        ("s3://https://s3.example.com/b", Address("s3", "b", "", "https://s3.example.com")),
    ],
)
def test_addresses(text: str, expected: Address) -> None:
    """Every form is read, and written again in the same form."""
    assert parse_address(text) == expected
    assert parse_address(str(expected)) == expected


@pytest.mark.parametrize("text", ["s3://", "bucket/prefix", "gs://http://host/b", "hf://a/b"])
def test_other_text_is_no_address(text: str) -> None:
    """The message shows the forms."""
    with pytest.raises(SourceError, match="write s3://bucket/prefix"):
        parse_address(text)


def test_a_whole_bucket_may_be_the_model(bucket: Bucket, resolve: Resolver) -> None:
    """No prefix is needed."""
    for name, content in model_files().items():
        bucket.client.put_object(Bucket=bucket.name, Key=name, Body=content)
    model = resolve(f"s3://{bucket.name}")
    assert sorted(path.name for path in model.path.iterdir()) == sorted(model_files())
