"""Tables: embeddings as .npz, .parquet or .csv, rows of text as .csv, written whole or not at all; and columns on the screen."""

from __future__ import annotations

import csv
import importlib.util
import itertools
import os
import re
import zipfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mtslvr.storage import atomic

if TYPE_CHECKING:
    import numpy as np

TABLE_SUFFIXES = (".npz", ".parquet", ".csv")
ROW_GROUP = 1024  # rows of a .parquet that are written at a time

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_NUMBER = re.compile(r"-?\d+(\.\d+)?(e[+-]?\d+)?|-?(inf|nan)")


def check_table(path: Path, suffixes: Sequence[str]) -> None:
    """Find out, before the work, whether a file with one of these suffixes can be written after it.

    Raises:
        ValueError: an unknown suffix, no such folder or not one to write into, or .parquet without pyarrow.
    """
    if path.suffix not in suffixes:
        raise ValueError(f"{path}: expected a name that ends in {', '.join(suffixes)}")
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise ValueError(f"{path} cannot be written: its folder does not exist, or it is a folder itself")
    if not os.access(path.absolute().parent, os.W_OK):
        raise ValueError(f"{path} cannot be written: there is no permission to write into its folder")
    if path.suffix == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise ValueError('.parquet needs pyarrow: pip install "mtslvr[parquet]", or write .npz or .csv')


def write_table(path: Path, names: Sequence[str], vectors: Iterable[np.ndarray], notes: Mapping[str, str]) -> None:
    """Write names and vectors, one after the other: the vectors are never all in memory.

    Args:
        path: .npz holds `paths` [n], `embeddings` float32 [n, D] and the notes; .parquet the columns path and embedding (a list), with
            the notes as metadata; .csv the columns path, 0, 1, ... D - 1, and no notes.
        vectors: n of them, float32 [D], n > 0.
        notes: what the vectors are, such as the space and the model's fingerprint.
    """
    vectors = iter(vectors)
    first = next(vectors)
    vectors = itertools.chain([first], vectors)
    if path.suffix == ".csv":
        # The shortest text that reads back as the same float32.
        rows = ([name, *map(str, vector)] for name, vector in zip(names, vectors, strict=True))
        return write_rows(path, ["path", *map(str, range(len(first)))], rows)
    with atomic.whole(path) as temporary:
        if path.suffix == ".npz":
            _write_npz(temporary, names, vectors, len(first), notes)
        else:
            _write_parquet(temporary, names, vectors, notes)


def write_rows(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a .csv, whose cells a spreadsheet takes for text or numbers and never for formulas.

    A text that begins with "=", "+", "-" or "@" gets an apostrophe in front, in the column "path" a "./", which names the same file;
    control characters become escapes such as \\x1b.
    """
    with atomic.whole(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for row in rows:
            writer.writerow([_cell(text, name) for name, text in zip(header, row, strict=True)])


def lined_up(rows: Sequence[Sequence[str]], left: Collection[int] = (0,)) -> str:
    """Cells as lines of text: the columns with these numbers to the left, the others to the right."""
    rows = [list(map(printable, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i in left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def printable(text: str) -> str:
    """Text without characters that steer a terminal, break a line or turn the direction of writing; escapes such as \\x1b instead."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def _cell(text: str, column: str) -> str:
    text = printable(text)
    if not text.startswith(("=", "+", "-", "@")) or _NUMBER.fullmatch(text):
        return text
    return f"./{text}" if column == "path" else f"'{text}"


def _write_npz(
    path: Path, names: Sequence[str], vectors: Iterable[np.ndarray], width: int, notes: Mapping[str, str]
) -> None:
    """As numpy.savez would, which wants all of an array at once."""
    import numpy as np

    with zipfile.ZipFile(path, "w") as archive:
        for name, array in {"paths": names, **notes}.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.array(array))
        with archive.open("embeddings.npy", "w", force_zip64=True) as file:
            header = {"descr": "<f4", "fortran_order": False, "shape": (len(names), width)}
            np.lib.format.write_array_header_1_0(file, header)
            for _, vector in zip(names, vectors, strict=True):
                file.write(vector.astype("<f4").tobytes())


def _write_parquet(path: Path, names: Sequence[str], vectors: Iterable[np.ndarray], notes: Mapping[str, str]) -> None:
    import pyarrow
    import pyarrow.parquet

    fields = {"path": pyarrow.string(), "embedding": pyarrow.list_(pyarrow.float32())}
    schema = pyarrow.schema(fields, metadata=dict(notes))
    rows = zip(names, vectors, strict=True)
    with pyarrow.parquet.ParquetWriter(path, schema) as writer:
        while group := list(itertools.islice(rows, ROW_GROUP)):
            writer.write_table(pyarrow.table(list(map(list, zip(*group, strict=True))), schema=schema))
