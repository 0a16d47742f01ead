"""Push and pull: only what changed, deletions only when asked for, half copies never used."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.repository.trees import GOOD, write_tree
from tests.sources.s3 import Bucket
from tritonfleet.errors import SourceError, UsageError
from tritonfleet.progress import Transfer, silent
from tritonfleet.repository import Pull, Push, SyncPlan
from tritonfleet.repository.sync import PART_SIZES, plan_sync, same_content
from tritonfleet.sources.objects import S3_PART_BYTES, ObjectStore, StoredObject, parse_address


@pytest.fixture
def store(bucket: Bucket) -> ObjectStore:
    """The place of the repository in the bucket."""
    return ObjectStore(parse_address(f"s3://{bucket.name}/fleet/model_repository"), bucket.environ)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A repository in a folder."""
    return write_tree(tmp_path / "repository", GOOD)


def files(folder: Path) -> dict[str, bytes]:
    """Return the files of *folder*."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_repository_goes_up_and_comes_down_the_same(
    folder: Path, store: ObjectStore, bucket: Bucket, tmp_path: Path
) -> None:
    """Every file, at the same place."""
    Push(folder, store).run(silent, delete=False)
    assert bucket.contents("fleet/model_repository") == files(folder)
    Pull(store, tmp_path / "copy").run(silent, delete=False)
    assert files(tmp_path / "copy") == files(folder)


def test_nothing_is_copied_twice(folder: Path, store: ObjectStore) -> None:
    """Equal files are told by size and MD5, in both directions."""
    assert len(Push(folder, store).plan.copy) == len(GOOD)
    Push(folder, store).run(silent, delete=False)
    assert Push(folder, store).plan == SyncPlan((), tuple(sorted(GOOD)), (), 0)
    assert Pull(store, folder).plan == SyncPlan((), tuple(sorted(GOOD)), (), 0)


def test_only_changed_files_are_copied(folder: Path, store: ObjectStore) -> None:
    """Also one whose size stayed the same."""
    Push(folder, store).run(silent, delete=False)
    text = (folder / "llm/1/model.json").read_text().replace("0.5", "0.6")
    (folder / "llm/1/model.json").write_text(text)
    assert Push(folder, store).plan.copy == ("llm/1/model.json",)
    assert Pull(store, folder).plan.copy == ("llm/1/model.json",)


def test_progress_counts_the_bytes(folder: Path, store: ObjectStore) -> None:
    """Up to the size of what is copied, and no further."""
    seen: list[Transfer] = []
    push = Push(folder, store)
    push.run(seen.append, delete=False)
    size = sum(map(len, files(folder).values()))
    assert push.plan.size == size
    assert (seen[-1].done, seen[-1].total) == (size, size)
    assert all(earlier.done <= later.done for earlier, later in pairwise(seen))


def test_the_config_goes_up_last(folder: Path, store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that looks in between sees no config without its files."""
    order: list[str] = []
    original = ObjectStore.upload

    def upload(self: ObjectStore, path: Path, name: str, add: object) -> None:
        order.append(path.name)
        original(self, path, name, add)  # type: ignore[arg-type]

    monkeypatch.setattr(ObjectStore, "upload", upload)
    Push(folder, store).run(silent, delete=False)
    assert order.index("config.pbtxt") == len(order) - order.count("config.pbtxt")


def test_an_empty_version_folder_survives(folder: Path, store: ObjectStore, tmp_path: Path) -> None:
    """Object stores have no folders, and an ensemble's version is one."""
    (folder / "chain/1/.keep").unlink()
    Push(folder, store).run(silent, delete=False)
    assert Push(folder, store).plan.copy == ()
    Pull(store, tmp_path / "copy").run(silent, delete=False)
    assert (tmp_path / "copy/chain/1").is_dir()


def test_extra_files_stay_unless_deletion_is_asked_for(folder: Path, store: ObjectStore, bucket: Bucket) -> None:
    """In the store."""
    Push(folder, store).run(silent, delete=False)
    (folder / "prepare/1/model.py").unlink()
    push = Push(folder, store)
    assert push.plan.extra == ("prepare/1/model.py",)
    push.run(silent, delete=False)
    assert "prepare/1/model.py" in bucket.contents("fleet/model_repository")
    push.run(silent, delete=True)
    assert "prepare/1/model.py" not in bucket.contents("fleet/model_repository")


def test_extra_local_files_stay_unless_deletion_is_asked_for(folder: Path, store: ObjectStore) -> None:
    """In the folder; folders that become empty go with them."""
    Push(folder, store).run(silent, delete=False)
    write_tree(folder, {"old/1/model.py": "", "llm/notes.txt": ""})
    pull = Pull(store, folder)
    assert pull.plan.extra == ("llm/notes.txt", "old/1/model.py")
    pull.run(silent, delete=False)
    assert (folder / "old/1/model.py").exists()
    pull.run(silent, delete=True)
    assert not (folder / "old").exists()
    assert (folder / "llm/config.pbtxt").exists()


def test_hidden_files_stay_here(folder: Path, store: ObjectStore, bucket: Bucket) -> None:
    """.git, our own list, and Python's caches are nobody else's business."""
    write_tree(folder, {".git/config": "x", ".tritonfleet.json": "{}", "prepare/1/__pycache__/model.pyc": "x"})
    Push(folder, store).run(silent, delete=False)
    assert set(bucket.contents("fleet/model_repository")) == set(GOOD)


def test_links_are_followed(folder: Path, store: ObjectStore, bucket: Bucket, tmp_path: Path) -> None:
    """Weights are often linked into a repository; a link back up does not go round for ever."""
    write_tree(tmp_path / "weights", {"model.bin": "w"})
    (folder / "llm/1/weights").symlink_to(tmp_path / "weights")
    (folder / "llm/1/loop").symlink_to(folder)
    Push(folder, store).run(silent, delete=False)
    assert bucket.contents("fleet/model_repository")["llm/1/weights/model.bin"] == b"w"


def test_an_interrupted_pull_leaves_old_or_new_files(folder: Path, store: ObjectStore, tmp_path: Path) -> None:
    """Never half of one."""
    Push(folder, store).run(silent, delete=False)
    copy = write_tree(tmp_path / "copy", {"llm/config.pbtxt": "old"})

    def interrupt(transfer: Transfer) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Pull(store, copy).run(interrupt, delete=False)
    for name, content in files(copy).items():
        if not Path(name).name.startswith(".") or name.endswith(".keep"):
            assert content in (b"old", GOOD[name].encode())
    Pull(store, copy).run(silent, delete=False)
    assert files(copy).items() >= files(folder).items()


def test_nothing_to_pull_is_an_error(store: ObjectStore, tmp_path: Path) -> None:
    """Most likely the address is wrong; the folder is not touched."""
    with pytest.raises(UsageError, match="there is nothing to pull; check the address"):
        Pull(store, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_a_missing_bucket_is_told(bucket: Bucket, folder: Path) -> None:
    """Before anything is copied."""
    with pytest.raises(SourceError, match=r"does not exist \(bucket no-such-bucket-here\)"):
        Push(folder, ObjectStore(parse_address("s3://no-such-bucket-here/x"), bucket.environ))


def multipart_etag(content: bytes, size: int) -> str:
    """Return the ETag that S3 gives an object that came in parts of *size*."""
    digests = [hashlib.md5(content[start : start + size]).digest() for start in range(0, len(content), size)]
    return f"{hashlib.md5(b''.join(digests)).hexdigest()}-{len(digests)}"


@pytest.mark.parametrize("mebibytes", [8, 16, 50])
def test_objects_that_went_up_in_parts_are_recognised(mebibytes: int, tmp_path: Path) -> None:
    """Whatever tool put them there, by the usual part sizes."""
    content = bytes(20 * 2**20) + b"end"
    path = tmp_path / "weights.bin"
    path.write_bytes(content)
    stored = StoredObject("weights.bin", len(content), multipart_etag(content, mebibytes * 2**20))
    assert same_content(path, stored)
    path.write_bytes(content[:-1] + b"!")
    assert not same_content(path, stored)


def test_a_large_file_that_we_pushed_is_recognised(
    folder: Path, store: ObjectStore, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """s3fs splits files from twice the part size on; a smaller one than ours makes the test quick."""
    assert S3_PART_BYTES in PART_SIZES
    monkeypatch.setattr("tritonfleet.sources.objects.S3_PART_BYTES", 8 * 2**20)
    with (folder / "llm/1/weights.bin").open("wb") as file:
        file.truncate(17 * 2**20)
    Push(folder, store).run(silent, delete=False)
    key = "fleet/model_repository/llm/1/weights.bin"
    assert "-3" in bucket.client.head_object(Bucket=bucket.name, Key=key)["ETag"]
    assert Push(folder, store).plan.copy == ()


_listings = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 2), max_size=6)


@given(_listings, _listings, st.sets(st.sampled_from("abcdef")))
def test_a_plan_makes_the_target_equal(source: Mapping[str, int], target: Mapping[str, int], equal: set[str]) -> None:
    """Every name of the source is copied or the same; every other name of the target is extra."""
    plan = plan_sync(source, target, equal.__contains__)
    assert set(plan.copy) | set(plan.same) == source.keys()
    assert not set(plan.copy) & set(plan.same)
    assert set(plan.extra) == target.keys() - source.keys()
    assert all(source[name] == target[name] and name in equal for name in plan.same)
    assert plan.size == sum(source[name] for name in plan.copy)
