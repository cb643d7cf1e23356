import os
from pathlib import Path

import pytest

from mtslvr.storage import atomic


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic.whole(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["out.csv"]
    with atomic.whole(path) as temporary:
        assert temporary.parent == tmp_path and temporary.suffix == ".csv"
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new" and os.listdir(tmp_path) == ["out.csv"]


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    with atomic.whole(path) as one, atomic.whole(path) as other:
        one.write_text("one")
        other.write_text("other")
    assert path.read_text() == "one", "which ended last"
    assert os.listdir(tmp_path) == ["out.csv"]


def test_links_are_replaced_and_never_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    precious, path = tmp_path / "precious.txt", tmp_path / "out.csv"
    precious.write_text("precious")
    path.symlink_to(precious)
    atomic.write({path: b"new"})
    assert precious.read_text() == "precious" and path.read_bytes() == b"new" and not path.is_symlink()
    monkeypatch.setattr(atomic.secrets, "token_hex", lambda n: "guessed")
    (tmp_path / ".mtslvr-guessed.tmp.csv").symlink_to(precious)
    with pytest.raises(FileExistsError):
        atomic.write({path: b"newer"})
    assert precious.read_text() == "precious" and path.read_bytes() == b"new"


def test_several_take_their_places_in_order_once_all_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = {tmp_path / "b": b"1", tmp_path / "a": b"2"}
    order: list[str] = []
    replace = os.replace

    def spy(source: Path, target: Path) -> None:
        order.append(target.name)
        assert sorted(path.read_bytes() for path in tmp_path.iterdir()) == [b"1", b"2"]
        replace(source, target)

    monkeypatch.setattr(os, "replace", spy)
    atomic.write(contents)
    assert order == ["b", "a"] and {path: path.read_bytes() for path in tmp_path.iterdir()} == contents


def test_long_names(tmp_path: Path) -> None:
    atomic.write({tmp_path / ("n" * 240 + ".csv"): b"x"})


@pytest.mark.skipif(os.name != "posix", reason="locks of POSIX")
def test_a_folder_is_for_one_at_a_time(tmp_path: Path) -> None:
    for _ in range(2):
        with (
            atomic.locked(tmp_path / "run", "training in"),
            pytest.raises(ValueError, match=r"another process is training in .*run: wait"),
            atomic.locked(tmp_path / "run", "training in"),
        ):
            pass
