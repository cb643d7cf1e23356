"""Folders and CSVs of clips: what is read, and what each error says was looked for and found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from training.evaluation.datasets.common import Clip, Dataset, some
from training.evaluation.datasets.folder import read


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


def test_a_folder_with_a_sub_folder_per_class(tmp_path: Path) -> None:
    root = touch(
        tmp_path / "birds", "wren/b.WAV", "wren/deep/a.mp3", "owl/c.flac", "owl/notes.txt", "owl/.d.wav", ".trash/e.wav"
    )
    dataset = read(root)
    assert dataset.name == "birds"
    assert [(clip.path.name, clip.label, clip.group) for clip in dataset.clips] == [
        ("c.flac", "owl", None),
        ("b.WAV", "wren", None),
        ("a.mp3", "wren", None),
    ]
    assert dataset.classes == ("owl", "wren")
    np.testing.assert_array_equal(dataset.targets, [0, 1, 1])


@pytest.mark.parametrize("as_folder", [True, False])
def test_a_csv(tmp_path: Path, as_folder: bool) -> None:
    touch(tmp_path, "x/1.wav", "2.wav", "3.wav", "unlisted/4.wav")
    text = "\ufeffduration,path,label,group\n1,x/1.wav,b,anna\n1,2.wav,a,otto\n1,3.wav,b,\n"
    (tmp_path / "clips.csv").write_text(text, encoding="utf-8")
    dataset = read(tmp_path if as_folder else tmp_path / "clips.csv", "mine")
    assert dataset.name == "mine"
    assert dataset.clips == (
        Clip(tmp_path / "x/1.wav", "b", "anna"),
        Clip(tmp_path / "2.wav", "a", "otto"),
        Clip(tmp_path / "3.wav", "b", None),
    )
    with pytest.raises(ValueError, match=r"1 of 3 clips have no group.*column `group`"):
        _ = dataset.groups


def test_groups_are_numbered() -> None:
    clips = tuple(Clip(Path(f"{i}.wav"), "a", group) for i, group in enumerate(["q", "p", "q"]))
    np.testing.assert_array_equal(Dataset("x", clips).groups, [1, 0, 1])


def test_the_digest_is_of_the_list_not_of_where_it_lies(tmp_path: Path) -> None:
    digests = {read(touch(tmp_path / place / "set", "a/1.wav", "b/2.wav")).digest for place in ("here", "there")}
    assert len(digests) == 1
    assert read(touch(tmp_path / "more" / "set", "a/1.wav", "b/2.wav", "b/3.wav")).digest not in digests


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,class\n", "columns file, class; expected path, label"),
        ("", "columns nothing; expected path, label"),
        ("path,label\n", "lists no clips"),
        ("path,label\na.wav,x\nb.wav,\n", "no path or no label in line 3"),
        ("path,label\na.wav,x\na.wav\n", "too few fields in line 3; is it cut short"),
        ("path,label\na.wav,x\nb.wav,x\n", r"1 of the 2 clips in .* are missing: .*b\.wav"),
    ],
)
def test_a_wrong_csv(tmp_path: Path, text: str, message: str) -> None:
    touch(tmp_path, "a.wav")
    (tmp_path / "clips.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read(tmp_path, "mine")


def test_a_csv_in_another_encoding(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav")
    (tmp_path / "clips.csv").write_text("path,label\na.wav,Kr\xe4he\n", encoding="latin-1")
    with pytest.raises(ValueError, match=r"mine: .*clips\.csv is not a CSV file in UTF-8"):
        read(tmp_path, "mine")


def test_a_wrong_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"birds: no such folder or CSV: .*nowhere"):
        read(tmp_path / "nowhere", "birds")
    with pytest.raises(ValueError, match=r"no sounds in .*\.wav.* found a\.wav, owl$"):
        read(touch(tmp_path, "a.wav", "owl/notes.txt"), "birds")


def test_some() -> None:
    assert some([]) == "nothing"
    assert some("abc") == "a, b, c"
    assert some("abcde") == "a, b, c and 2 more"
