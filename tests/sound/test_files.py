import errno
import os
from pathlib import Path
from typing import Any

import pytest

from mtslvr.sound.files import SOUND_SUFFIXES, find_sounds, grouped_sounds, labelled_sounds, text_of


def made(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


def test_folders_are_searched_through(tmp_path: Path) -> None:
    made(tmp_path, "b.WAV", "a/c.flac", "a/notes.txt", ".hidden.wav", ".Trash/z.wav")
    assert find_sounds([str(tmp_path), "gone.wav"]) == [tmp_path / "a/c.flac", tmp_path / "b.WAV", Path("gone.wav")]
    with pytest.raises(ValueError, match=r"no sound files in .*looked for \.wav"):
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


def test_every_suffix_of_sound_is_found_and_the_rest_is_counted(tmp_path: Path) -> None:
    names = [f"x{suffix}" for suffix in sorted(SOUND_SUFFIXES)]
    assert {".mov", ".mkv", ".mka", ".3gp", ".amr", ".m4b", ".wave", ".aifc", ".mp2", ".weba", ".sph"} <= SOUND_SUFFIXES
    made(tmp_path, *names, "a.xyz", "b.xyz", "c.exe", "README.md", "labels.csv")
    with pytest.warns(UserWarning, match=r"passed over 3 of its files.*: 2 \.xyz, 1 \.exe"):
        assert [path.name for path in find_sounds([tmp_path])] == names


def test_links_are_followed_once_and_a_broken_one_is_found(tmp_path: Path) -> None:
    made(tmp_path, "rec/a.wav", "other/b.wav")
    try:
        (tmp_path / "rec/link").symlink_to(tmp_path / "other")
        (tmp_path / "other/back").symlink_to(tmp_path / "rec")
        (tmp_path / "rec/broken.wav").symlink_to(tmp_path / "gone.wav")
    except OSError:
        pytest.skip("links need a right that this user has not")
    found = [str(path.relative_to(tmp_path / "rec")) for path in find_sounds([tmp_path / "rec"])]
    assert found == ["a.wav", "broken.wav", "link/b.wav"]


def test_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    made(tmp_path, "rec/dog/a.wav")
    assert find_sounds(["~/rec"]) == [tmp_path / "rec/dog/a.wav"]
    assert labelled_sounds("~/rec")[1] == ["dog"]


def test_labels_that_look_alike_are_one(tmp_path: Path) -> None:
    made(tmp_path, *(f"{i}.wav" for i in range(5)))
    labels = ["dog", "dog ", " dog", "\u00e9", "e\u0301"]
    rows = "".join(f"{i}.wav,{label}\n" for i, label in enumerate(labels))
    (tmp_path / "clips.csv").write_text("path,label\n" + rows, encoding="utf-8")
    assert labelled_sounds(tmp_path / "clips.csv")[1] == ["dog", "dog", "dog", "\u00e9", "\u00e9"]


def test_one_file_under_two_labels(tmp_path: Path) -> None:
    made(tmp_path, "1.wav", "sub/x.txt")
    (tmp_path / "clips.csv").write_text("path,label\n1.wav,dog\nsub/../1.wav,cat\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"1\.wav is labelled 'dog' and 'cat'"):
        labelled_sounds(tmp_path / "clips.csv")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("path;label\n1.wav;dog\n", "has the columns path;label; expected path and label"),
        ("", "has the columns nothing"),
        ("path,label\n", "lists no clips"),
        ("path,label\n1.wav,  \n", "no path or no label in row 2"),
        ("path,label\n1.wav,dog\n1.wav\n", "no path or no label in row 3"),
        ("path,label\n1.wav,dog\n2.wav,dog\n", r"lists 2\.wav in row 3, and .*2\.wav is not a file"),
        ("path,label\n\xe9.wav,dog\n", "is not a CSV file in UTF-8"),
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


@pytest.mark.skipif(os.name != "posix", reason="names that are no text")
def test_no_two_names_become_one_text() -> None:
    names = [b"\xff.wav", b"\\xff.wav", b"\\x5cxff.wav", b"\\.wav", b"\\\xff.wav", b"\\xfg.wav", "é.wav".encode()]
    texts = [text_of(os.fsdecode(name)) for name in names]
    assert texts[:2] == ["\\xff.wav", "\\x5cxff.wav"] and texts[-1] == "é.wav"
    assert len(set(texts)) == len(names)


def test_groups_are_folders_in_that_of_the_class_or_a_column(tmp_path: Path) -> None:
    for name in ("dog/monday/1.wav", "dog/monday/deep/2.wav", "dog/3.wav", "cat/monday/4.wav"):
        made(tmp_path, name)
    paths, labels, groups = grouped_sounds(tmp_path)
    names = [path.relative_to(tmp_path).as_posix() for path in paths]
    assert groups is not None
    assert dict(zip(names, groups, strict=True)) == {
        "cat/monday/4.wav": "monday",
        "dog/3.wav": str(tmp_path / "dog/3.wav"),  # of a group of its own
        "dog/monday/1.wav": "monday",
        "dog/monday/deep/2.wav": "monday",
    }
    assert labelled_sounds(tmp_path) == (paths, labels)
    (tmp_path / "clips.csv").write_text("path,label,group\ndog/3.wav,dog, a \ncat/monday/4.wav,cat,\n")
    assert grouped_sounds(tmp_path / "clips.csv")[2] == ["a", str(tmp_path / "cat/monday/4.wav")]
    (tmp_path / "clips.csv").write_text("path,label\ndog/3.wav,dog\n")
    assert grouped_sounds(tmp_path / "clips.csv")[2] is None
