import errno
import os
from pathlib import Path
from typing import Any

import pytest

from mtslvr.sound.files import find_sounds, labelled_sounds


def made(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


def test_folders_are_searched_through(tmp_path: Path) -> None:
    made(tmp_path, "b.WAV", "a/c.flac", "a/notes.txt", ".hidden.wav")
    assert find_sounds([str(tmp_path), "gone.wav"]) == [tmp_path / "a/c.flac", tmp_path / "b.WAV", Path("gone.wav")]
    with pytest.raises(ValueError, match=r"no sound files in .*looked for \.aac"):
        find_sounds([made(tmp_path / "empty", "x.txt")])


def test_a_folder_that_cannot_be_read_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the system's own error: a test that runs as root may read everything."""
    made(tmp_path, "dog/1.wav", "dog/private/2.wav", "cat/3.wav")
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if os.fspath(path).endswith("private"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    for find in (lambda: find_sounds([tmp_path]), lambda: labelled_sounds(tmp_path)):
        with pytest.raises(ValueError, match="private cannot be read: Permission denied"):
            find()


def test_a_sub_folder_is_a_class(tmp_path: Path) -> None:
    made(tmp_path, "dog/1.wav", "dog/more/2.ogg", "cat/1.mp3", "cat/notes.txt", ".git/x.wav", "README.md")
    paths, labels = labelled_sounds(tmp_path)
    assert [str(path.relative_to(tmp_path)) for path in paths] == ["cat/1.mp3", "dog/1.wav", "dog/more/2.ogg"]
    assert labels == ["cat", "dog", "dog"]


def test_a_csv_lists_clips(tmp_path: Path) -> None:
    made(tmp_path, "1.wav", "sub/2.wav")
    table = tmp_path / "clips.csv"
    table.write_text("label,path,by\ndog,1.wav,me\ncat,sub/2.wav,you\n", encoding="utf-8-sig")
    assert labelled_sounds(table) == ([tmp_path / "1.wav", tmp_path / "sub/2.wav"], ["dog", "cat"])


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("path;label\n1.wav;dog\n", "has the columns path;label; expected path and label"),
        ("", "has the columns nothing"),
        ("path,label\n", "lists no clips"),
        ("path,label\n1.wav,dog\n1.wav\n", "no path or no label in row 3"),
        ("path,label\n1.wav,dog\n2.wav,dog\n", r"lists 2\.wav in row 3, and .*2\.wav is no file"),
        ("path,label\n\xe9.wav,dog\n", "is no CSV in UTF-8"),
    ],
)
def test_bad_tables(tmp_path: Path, table: str, message: str) -> None:
    made(tmp_path, "1.wav")
    (tmp_path / "clips.csv").write_bytes(table.encode("latin-1"))
    with pytest.raises(ValueError, match=message):
        labelled_sounds(tmp_path / "clips.csv")


def test_bad_folders(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such folder or CSV"):
        labelled_sounds(tmp_path / "gone")
    with pytest.raises(ValueError, match="expected one sub-folder per class"):
        labelled_sounds(made(tmp_path, "1.wav"))
    made(tmp_path, "dog/1.wav", "cat/notes.txt")
    with pytest.raises(ValueError, match=r"no sound files in .*cat"):
        labelled_sounds(tmp_path)


def test_a_sound_beside_the_classes_is_told_of(tmp_path: Path) -> None:
    made(tmp_path, "dog/1.wav", "lost.wav", "notes.txt", ".hidden.wav")
    with pytest.raises(ValueError, match=r"has 1 sound files in none of its sub-folders, such as lost\.wav"):
        labelled_sounds(tmp_path)
