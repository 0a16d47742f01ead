"""Weights on their way through the bucket, against a local S3 server and a stand-in for the Hub's cache."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.sources import s3
from tritonfleet.deploy import weights
from tritonfleet.deploy.weights import MARKER, Weights, copy, is_copied, main, read_table, wait
from tritonfleet.errors import EngineFailed, SourceError, UsageError
from tritonfleet.sources import resolve_source


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with s3.serve() as url:
        yield url


@pytest.fixture
def bucket(server: str) -> s3.Bucket:
    return s3.new_bucket(server)


def entry(bucket: s3.Bucket) -> Weights:
    return Weights("llama2", "demo://llama2", f"s3://{bucket.name}/models/llama2-0a1b2c3d")


def test_a_copy_is_a_source_for_pods(bucket: s3.Bucket, tmp_path: Path) -> None:
    model = entry(bucket)
    assert copy(model, cache=tmp_path, environ=bucket.environ)
    assert is_copied(model, bucket.environ)
    found = resolve_source(model.target, base=tmp_path, cache=tmp_path / "pod", environ=bucket.environ)
    original = resolve_source(model.source, base=tmp_path, cache=tmp_path, environ={})
    for name in ("config.json", "model.safetensors"):
        assert (found.path / name).read_bytes() == (original.path / name).read_bytes()


def test_what_is_copied_is_not_copied_again(bucket: s3.Bucket, tmp_path: Path) -> None:
    assert copy(entry(bucket), cache=tmp_path, environ=bucket.environ)
    assert not copy(entry(bucket), cache=tmp_path, environ=bucket.environ)


def test_half_a_copy_is_none(bucket: s3.Bucket, tmp_path: Path) -> None:
    """The Job ended in the middle: pods go on waiting, and the next Job goes on copying."""
    model = entry(bucket)
    bucket.put("models/llama2-0a1b2c3d", {"config.json": b"{}"})
    assert not is_copied(model, bucket.environ)
    assert copy(model, cache=tmp_path, environ=bucket.environ)
    assert len(bucket.contents("models/llama2-0a1b2c3d")["config.json"]) > 2


def test_the_marker_tells_where_the_weights_came_from(bucket: s3.Bucket, tmp_path: Path) -> None:
    copy(entry(bucket), cache=tmp_path, environ=bucket.environ)
    assert json.loads(bucket.contents("models/llama2-0a1b2c3d")[MARKER])["source"] == "demo://llama2"


def test_a_pod_waits_for_the_marker(bucket: s3.Bucket, tmp_path: Path) -> None:
    model, looks = entry(bucket), []

    def copy_at_the_second_look(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 2:
            copy(model, cache=tmp_path, environ=bucket.environ)

    wait([model], environ=bucket.environ, seconds=60, pause=copy_at_the_second_look)
    assert len(looks) == 2


def test_a_wait_ends_and_says_where_to_look(bucket: s3.Bucket) -> None:
    with pytest.raises(EngineFailed, match=r"llama2: its weights are not at s3://.* the log of the Job"):
        wait([entry(bucket)], environ=bucket.environ, seconds=-1)


def test_a_source_that_is_not_there_is_named(bucket: s3.Bucket, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="demo://llama3"):
        copy(replace(entry(bucket), source="demo://llama3"), cache=tmp_path, environ=bucket.environ)


def test_the_command_copies_what_the_chart_lists(
    bucket: s3.Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, value in bucket.environ.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setenv("TRITONFLEET_CACHE", str(tmp_path / "cache"))
    table = tmp_path / "weights.json"
    model = entry(bucket)
    table.write_text(json.dumps({"weights": [{"name": "llama2", "source": model.source, "target": model.target}]}))
    assert main(["copy", str(table)]) == 0
    assert main(["wait", str(table), "--seconds", "1"]) == 0
    assert not list((tmp_path / "cache").iterdir()), "the local copy is gone"


def test_a_broken_table_is_named(tmp_path: Path) -> None:
    path = tmp_path / "weights.json"
    path.write_text('{"weights": [{"nam": "a"}]}')
    with pytest.raises(UsageError, match=r"weights\.json does not tell which weights to copy"):
        read_table(path)
    assert weights.main(["copy", str(path)]) == 2
