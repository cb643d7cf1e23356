import csv
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

from mtslvr.storage import tables

NOTES = {"space": "combined", "fingerprint": "0123"}


def rows(n: int, width: int = 500) -> Iterator[np.ndarray]:
    for i in range(n):
        yield np.full(width, i, np.float32)


@pytest.mark.parametrize("suffix", tables.TABLE_SUFFIXES)
def test_a_table_is_written_row_by_row(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "ROW_GROUP", 16)
    path, n = tmp_path / f"out{suffix}", 500
    names = [f"näme {i}.wav" for i in range(n)]
    tables.write_table(tmp_path / f"first{suffix}", names[:1], rows(1), NOTES)  # imports what it needs
    tracemalloc.start()
    tables.write_table(path, names, rows(n), NOTES)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.4e6  # all rows are 1 MB
    if suffix == ".npz":
        content = dict(np.load(path))
        assert (
            sorted(content) == ["embeddings", "fingerprint", "paths", "space"] and str(content["space"]) == "combined"
        )
        found, told = content["embeddings"], content["paths"].tolist()
        assert found.dtype == np.float32 and found.flags.c_contiguous
    elif suffix == ".parquet":
        content = pyarrow.parquet.read_table(path)
        assert content.schema.metadata == {b"space": b"combined", b"fingerprint": b"0123"}
        found, told = np.stack(content["embedding"].to_numpy()), content["path"].to_pylist()
    else:
        cells = [line.split(",") for line in path.read_text("utf-8").splitlines()]
        assert cells[0] == ["path", *map(str, range(500))]
        found, told = np.array([row[1:] for row in cells[1:]], np.float32), [row[0] for row in cells[1:]]
    assert told == names
    np.testing.assert_array_equal(found, np.stack(list(rows(n))))


@pytest.mark.parametrize("suffix", tables.TABLE_SUFFIXES)
def test_a_table_is_written_whole_or_not_at_all(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    path.write_text("what was there")
    with pytest.raises(ValueError, match="zip"):
        tables.write_table(path, ["a", "b", "c"], rows(2), NOTES)
    assert path.read_text() == "what was there" and list(tmp_path.iterdir()) == [path]


def test_cells_are_no_formulas_and_steer_nothing(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    rows = [
        ("=1+1.wav", "=cmd|' /C calc'!A0", "0.500"),
        ("a\x1b[2Jb\nc.wav", "@x", "-1.5e-07"),
        ("-x.wav", "a=b", "nan"),
    ]
    tables.write_rows(path, ("path", "label", "confidence"), rows)
    with open(path, newline="", encoding="utf-8") as file:
        found = list(csv.reader(file))[1:]
    assert found == [
        ["./=1+1.wav", "'=cmd|' /C calc'!A0", "0.500"],
        ["a\\x1b[2Jb\\nc.wav", "'@x", "-1.5e-07"],
        ["./-x.wav", "a=b", "nan"],
    ]
    tables.write_table(path, ["=x.wav"], [np.array([-0.5, np.float32(-1e-7)], np.float32)], {})
    assert path.read_text().splitlines()[1] == "./=x.wav,-0.5,-1e-07"


def test_columns_side_by_side() -> None:
    rows = [("label", "n"), ("été\u202e\n", "10"), ("b", "7")]
    assert tables.lined_up(rows).split("\n") == ["label         n", r"été\u202e\n  10", "b             7"]
    assert tables.lined_up([("a", "bb"), ("aaa", "b")], left=(1,)) == "  a  bb\naaa  b"
