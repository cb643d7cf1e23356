import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from fuzz import damaged, fuzzed
from hypothesis import given
from hypothesis import strategies as st

from mtslvr.storage.vectors import Unfinished, Vectors

NOTES = {"space": "combined", "fingerprint": "0123"}
KEY = "ab" * 32


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
    with Unfinished(table, NOTES) as kept:
        todo = kept.missing(files)[:n]
        for path in todo:
            kept.add(path, vector(path))
    return todo


def stored(table: Path, paths: Sequence[Path]) -> list[np.ndarray]:
    with Unfinished(table, NOTES) as kept:
        assert kept.missing(paths) == []
        return list(kept.vectors(paths))


@fuzzed
@given(data=st.data())
def test_a_damaged_vector_is_not_there(tmp_path: Path, data: st.DataObject) -> None:
    vectors, expected = Vectors(tmp_path), np.arange(5, dtype=np.float32)
    vectors.write(KEY, expected)
    file = tmp_path / KEY[:2] / KEY[2:]
    content = file.read_bytes()
    changed = data.draw(damaged(content))
    file.write_bytes(changed)
    found = vectors.read(KEY)
    assert found is None if changed != content else np.array_equal(found, expected)


def test_a_vector_is_known_by_key_and_tag(tmp_path: Path) -> None:
    vectors = Vectors(tmp_path / "new")
    assert vectors.read(KEY) is None
    vectors.write(KEY, np.ones(3, np.float32), b"monday")
    np.testing.assert_array_equal(vectors.read(KEY, b"monday"), [1, 1, 1])
    assert vectors.read(KEY, b"tuesday") is None and vectors.read(KEY[::-1], b"monday") is None
    vectors.write(KEY, np.zeros(3, np.float32), b"tuesday")
    np.testing.assert_array_equal(vectors.read(KEY, b"tuesday"), [0, 0, 0])


def test_what_is_done_is_not_done_again(files: list[Path], tmp_path: Path) -> None:
    table = tmp_path / "out.csv"
    assert work(table, files, 3) == files[:3]
    assert work(table, files, 3) == files[3:6]
    assert work(table, files) == files[6:]
    assert work(table, files) == []
    backwards = files[::-1] + files[:1]
    np.testing.assert_array_equal(stored(table, backwards), [vector(path) for path in backwards])
    with Unfinished(table, NOTES) as kept:
        kept.remove()
        assert not kept.folder.exists()
    with Unfinished(table, NOTES) as kept:
        assert kept.missing([files[0], files[0]]) == [files[0]]
    assert not kept.folder.exists(), "nothing was done"


def test_a_kill_loses_nothing(files: list[Path], tmp_path: Path) -> None:
    code = (
        "import os, sys, numpy as np\nfrom pathlib import Path\nfrom mtslvr.storage.vectors import Unfinished\n"
        f"table, *files = map(Path, sys.argv[1:])\nkept = Unfinished(table, {NOTES})\nkept.missing(files)\n"
        "for path in files[:4]: kept.add(path, np.array([int(path.stem), path.stat().st_size], np.float32))\n"
        "os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "out.npz"), *map(str, files)])
    assert work(tmp_path / "out.npz", files) == files[4:]
    np.testing.assert_array_equal(stored(tmp_path / "out.npz", files), [*map(vector, files)])


def test_a_changed_file_is_done_again_and_the_newest_counts(files: list[Path], tmp_path: Path) -> None:
    table = tmp_path / "out.npz"
    work(table, files)
    files[2].write_text("longer than it was")
    status = files[5].stat()
    os.utime(files[5], ns=(status.st_atime_ns, status.st_mtime_ns + 1000))
    files[6].unlink()
    with Unfinished(table, NOTES) as kept:
        assert kept.missing(files) == [files[2], files[5], files[6]]
    assert work(table, files[:6]) == [files[2], files[5]]
    np.testing.assert_array_equal(stored(table, files[2:3]), [[2, 18]])


def test_a_file_that_changes_before_it_is_read_counts_as_changed(files: list[Path], tmp_path: Path) -> None:
    with Unfinished(tmp_path / "out.npz", NOTES) as kept:
        kept.missing(files[:1])
        files[0].write_text("longer than it was")
        kept.add(files[0], vector(files[0]))
    with Unfinished(tmp_path / "out.npz", NOTES) as kept:
        assert kept.missing(files[:1]) == files[:1]


@pytest.mark.skipif(os.name != "posix" or sys.platform == "darwin", reason="names that are no text")
def test_names_that_look_alike_are_kept_apart(tmp_path: Path) -> None:
    raw, escaped = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.wav")), tmp_path / "\\xff.wav"
    with Unfinished(tmp_path / "out.npz", NOTES) as kept:
        for i, path in enumerate(kept.missing([raw, escaped])):
            kept.add(path, np.full(2, i, np.float32))
        np.testing.assert_array_equal(list(kept.vectors([escaped, raw])), [[1, 1], [0, 0]])


def test_another_model_or_space_is_refused(files: list[Path], tmp_path: Path) -> None:
    work(tmp_path / "out.npz", files)
    for change in ({"space": "variant"}, {"fingerprint": "4567"}):
        with pytest.raises(ValueError, match=r"out\.npz\.parts holds .* fingerprint 0123, and this one is of .*delete"):
            Unfinished(tmp_path / "out.npz", NOTES | change)
    (tmp_path / "out.npz.parts" / "notes.json").write_bytes(b"\xff[1")
    with pytest.raises(ValueError, match="an unfinished table of something unknown"):
        Unfinished(tmp_path / "out.npz", NOTES)
    assert work(tmp_path / "other.npz", files) == files


@pytest.mark.skipif(os.name != "posix", reason="locks of POSIX")
def test_two_runs_do_not_write_one_table(files: list[Path], tmp_path: Path) -> None:
    with (
        Unfinished(tmp_path / "out.npz", NOTES),
        pytest.raises(ValueError, match=r"another process is writing .*out\.npz\.parts: wait until it ends"),
    ):
        Unfinished(tmp_path / "out.npz", NOTES)
    assert work(tmp_path / "out.npz", files) == files, "free again"


@pytest.mark.parametrize(
    "strange",
    [
        lambda folder: (folder / "my notes.txt").write_text("mine"),
        lambda folder: (folder / "part-000000-abcd.npz").write_text("of version 0.1.0"),
        lambda folder: next(folder.glob("??")).joinpath("mine.wav").write_text("mine"),
        lambda folder: (folder / "00").symlink_to(folder.parent / "elsewhere"),
    ],
    ids=["file", "old part", "beside a vector", "link"],
)
def test_what_is_not_ours_stays(files: list[Path], tmp_path: Path, strange: Callable[[Path], object]) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / ("0" * 62)).write_text("mine")
    work(tmp_path / "out.npz", files[:1])
    folder = tmp_path / "out.npz.parts"
    strange(folder)
    with Unfinished(tmp_path / "out.npz", NOTES) as kept:
        kept.remove()
    assert len([path for path in folder.rglob("*") if not path.is_dir()]) + (folder / "00").is_symlink() == 1
    assert (tmp_path / "elsewhere" / ("0" * 62)).read_text() == "mine"


def test_a_vector_that_is_gone_is_told(files: list[Path], tmp_path: Path) -> None:
    work(tmp_path / "out.npz", files)
    with Unfinished(tmp_path / "out.npz", NOTES) as kept:
        kept.missing(files)
        next(kept.folder.glob("??/*")).unlink()
        with pytest.raises(OSError, match="was changed meanwhile: run again"):
            list(kept.vectors(files))
