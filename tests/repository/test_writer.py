"""Writing a repository: atomic files, only what changed, only what is ours."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path, PurePosixPath

import pytest

from tritonfleet.errors import UsageError
from tritonfleet.repository import Written, write_repository

FIRST = {PurePosixPath("a/config.pbtxt"): "one\n", PurePosixPath("a/1/model.json"): "{}\n"}
SECOND = {PurePosixPath("b/config.pbtxt"): "two\n"}


def contents(folder: Path) -> dict[str, str]:
    """Return the visible files of *folder*."""
    return {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


def test_files_are_written_as_they_are(tmp_path: Path) -> None:
    """Into a folder that is made if need be."""
    folder = tmp_path / "deep/repository"
    assert write_repository(FIRST, folder) == Written(tuple(FIRST), ())
    assert contents(folder) == {"a/1/model.json": "{}\n", "a/config.pbtxt": "one\n"}


def test_unchanged_files_are_not_touched(tmp_path: Path) -> None:
    """Triton reloads a model whose files have a new time."""
    write_repository(FIRST, tmp_path)
    for path in tmp_path.rglob("*"):
        os.utime(path, (1, 1))
    changed = FIRST | {PurePosixPath("a/config.pbtxt"): "new\n"}
    assert write_repository(changed, tmp_path) == Written((PurePosixPath("a/config.pbtxt"),), ())
    assert (tmp_path / "a/1/model.json").stat().st_mtime == 1
    assert write_repository(changed, tmp_path) == Written((), ())


def test_models_that_left_the_spec_are_removed(tmp_path: Path) -> None:
    """With their folders."""
    write_repository(FIRST | SECOND, tmp_path)
    assert write_repository(SECOND, tmp_path).removed == tuple(sorted(FIRST))
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["b"]


def test_what_we_did_not_write_stays(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A model of somebody else's, and a file somebody put into ours."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other/config.pbtxt").write_text("theirs")
    write_repository(FIRST, tmp_path)
    (tmp_path / "a/1/notes.txt").write_text("mine")
    with caplog.at_level(logging.WARNING):
        write_repository(SECOND, tmp_path)
    assert contents(tmp_path) == {"a/1/notes.txt": "mine", "b/config.pbtxt": "two\n", "other/config.pbtxt": "theirs"}
    assert "holds files that tritonfleet did not write" in caplog.text


def test_a_model_of_the_same_name_is_not_overwritten(tmp_path: Path) -> None:
    """It may be the only copy."""
    (tmp_path / "b").mkdir()
    with pytest.raises(UsageError, match="b is there already and was not written by tritonfleet"):
        write_repository(FIRST | SECOND, tmp_path)
    assert contents(tmp_path) == {}


def test_an_edited_file_is_written_again(tmp_path: Path) -> None:
    """What is derived is not edited by hand; the file says so in its first line."""
    write_repository(FIRST, tmp_path)
    (tmp_path / "a/config.pbtxt").write_text("edited")
    assert write_repository(FIRST, tmp_path).changed == (PurePosixPath("a/config.pbtxt"),)


def test_a_crash_half_way_leaves_nothing_that_is_never_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list of our files is written first, with the old and the new ones."""
    write_repository(FIRST, tmp_path)
    original = Path.replace

    def crash(path: Path, target: Path) -> Path:
        if Path(target).name == "config.pbtxt":
            raise KeyboardInterrupt
        return original(path, target)

    monkeypatch.setattr(Path, "replace", crash)
    third = {PurePosixPath("c/1/model.json"): "{}", PurePosixPath("c/config.pbtxt"): "three"}
    with pytest.raises(KeyboardInterrupt):
        write_repository(third, tmp_path)
    assert (tmp_path / "c/1/model.json").is_file()
    monkeypatch.undo()
    write_repository(SECOND, tmp_path)
    assert contents(tmp_path) == {"b/config.pbtxt": "two\n"}


def test_a_damaged_list_is_told(tmp_path: Path) -> None:
    """Nothing is guessed about what is ours."""
    (tmp_path / ".tritonfleet.json").write_text("{")
    with pytest.raises(UsageError, match=r"\.tritonfleet\.json is damaged .*render it again"):
        write_repository(FIRST, tmp_path)


def test_a_list_from_elsewhere_removes_nothing_outside(tmp_path: Path) -> None:
    """Paths that leave the folder are ignored."""
    outside = tmp_path / "outside.txt"
    outside.write_text("keep")
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / ".tritonfleet.json").write_text(json.dumps({"files": ["../outside.txt", str(outside)]}))
    write_repository(FIRST, folder)
    assert outside.read_text() == "keep"


def test_a_folder_that_refuses_is_named(tmp_path: Path) -> None:
    """A file in the place of a folder stands for every disk error."""
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"file.*cannot be written"):
        write_repository(FIRST, tmp_path / "file/repository")
