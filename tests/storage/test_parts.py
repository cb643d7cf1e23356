import os
from pathlib import Path

import numpy as np
import pytest

from mtslvr.storage import parts as module
from mtslvr.storage.parts import Parts

NOTES = {"space": "combined", "fingerprint": "0123"}


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{i}.wav" for i in range(7)]
    for path in paths:
        path.write_text(path.name)
    return paths


def vector(path: Path) -> np.ndarray:
    return np.array([int(path.stem), path.stat().st_size], np.float32)


def work(table: Path, files: list[Path], n: int | None = None) -> list[Path]:
    """Do what is missing, or the first n of it; returns it."""
    parts = Parts(table, NOTES)
    todo = parts.missing(files)[:n]
    for path in todo:
        parts.add(path, vector(path))
    parts.flush()
    return todo


def test_what_is_done_is_not_done_again(files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PART_FILES", 2)
    table = tmp_path / "out.csv"
    assert work(table, files, 3) == files[:3]
    assert len(list((tmp_path / "out.csv.parts").iterdir())) == 2
    assert work(table, files, 3) == files[3:6]
    assert work(table, files) == files[6:]
    assert work(table, files) == []
    parts, backwards = Parts(table, NOTES), files[::-1] + files[:1]
    assert parts.missing(files) == []
    np.testing.assert_array_equal(list(parts.vectors(backwards)), [vector(path) for path in backwards])
    parts.remove()
    assert not parts.folder.exists()
    assert Parts(table, NOTES).missing([files[0], files[0]]) == [files[0]]


def test_nothing_is_lost_but_what_is_in_no_part_yet(files: list[Path], tmp_path: Path) -> None:
    parts = Parts(tmp_path / "out.npz", NOTES)
    for path in parts.missing(files)[:4]:
        parts.add(path, vector(path))
    parts.flush()
    parts.add(files[4], vector(files[4]))  # and killed
    assert Parts(tmp_path / "out.npz", NOTES).missing(files) == files[4:]


def test_a_part_is_written_after_some_seconds(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PART_SECONDS", -1.0)
    parts = Parts(tmp_path / "out.npz", NOTES)
    parts.missing(files)
    parts.add(files[0], vector(files[0]))
    assert Parts(tmp_path / "out.npz", NOTES).missing(files) == files[1:]


def test_a_changed_file_is_done_again_and_the_newest_counts(files: list[Path], tmp_path: Path) -> None:
    table = tmp_path / "out.npz"
    work(table, files)
    files[2].write_text("longer than it was")
    status = files[5].stat()
    os.utime(files[5], ns=(status.st_atime_ns, status.st_mtime_ns + 1000))
    files[6].unlink()
    assert Parts(table, NOTES).missing(files) == [files[2], files[5], files[6]]
    assert work(table, files[:6]) == [files[2], files[5]]
    np.testing.assert_array_equal(list(Parts(table, NOTES).vectors(files[2:3])), [[2, 18]])


def test_a_file_that_changes_before_it_is_read_counts_as_changed(files: list[Path], tmp_path: Path) -> None:
    parts = Parts(tmp_path / "out.npz", NOTES)
    parts.missing(files[:1])
    files[0].write_text("longer than it was")
    parts.add(files[0], vector(files[0]))
    parts.flush()
    assert Parts(tmp_path / "out.npz", NOTES).missing(files[:1]) == files[:1]


@pytest.mark.parametrize("damage", [b"", b"no zip", None])
def test_a_damaged_part_is_made_again(files: list[Path], tmp_path: Path, damage: bytes | None) -> None:
    work(tmp_path / "out.npz", files, 3)
    work(tmp_path / "out.npz", files)
    part = min((tmp_path / "out.npz.parts").iterdir())
    if damage is None:
        content = part.read_bytes()
        place = content.index(vector(files[1]).tobytes())
        damage = content[:place] + b"\xff" + content[place + 1 :]
    part.write_bytes(damage)
    assert work(tmp_path / "out.npz", files) == files[:3]
    np.testing.assert_array_equal(list(Parts(tmp_path / "out.npz", NOTES).vectors(files)), [*map(vector, files)])


def test_another_model_or_space_is_refused(files: list[Path], tmp_path: Path) -> None:
    work(tmp_path / "out.npz", files)
    for change in ({"space": "variant"}, {"fingerprint": "4567"}):
        with pytest.raises(ValueError, match=r"out\.npz\.parts holds .* fingerprint 0123, and this one is of .*delete"):
            Parts(tmp_path / "out.npz", NOTES | change)


def test_two_runs_at_once_do_not_mix(files: list[Path], tmp_path: Path) -> None:
    one, other = Parts(tmp_path / "out.npz", NOTES), Parts(tmp_path / "out.npz", NOTES)
    for parts, order in ((one, files), (other, files[::-1])):
        for path in parts.missing(order):
            parts.add(path, vector(path))
        parts.flush()
    for parts in (one, other):
        np.testing.assert_array_equal(list(parts.vectors(files)), [vector(path) for path in files])
