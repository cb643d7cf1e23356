"""Write tables, whole or not at all: embeddings as .npz, .parquet or .csv, rows of text as .csv."""

from __future__ import annotations

import csv
import importlib.util
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

TABLE_SUFFIXES = (".npz", ".parquet", ".csv")


def check_table(path: Path, suffixes: Sequence[str]) -> None:
    """Find out, before the work, whether a file with one of these suffixes can be written after it.

    Raises:
        ValueError: an unknown suffix, no such folder, or .parquet without pyarrow.
    """
    if path.suffix not in suffixes:
        raise ValueError(f"{path}: expected a name that ends in {', '.join(suffixes)}")
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise ValueError(f"{path} cannot be written: its folder does not exist, or it is a folder itself")
    if path.suffix == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise ValueError('.parquet needs pyarrow: pip install "mtslvr[parquet]", or write .npz or .csv')


def write_table(path: Path, names: Sequence[str], vectors: Sequence[np.ndarray], notes: Mapping[str, str]) -> None:
    """Write names and vectors.

    Args:
        path: .npz holds `paths` [n], `embeddings` float32 [n, D] and the notes; .parquet the columns path and embedding (a list), with
            the notes as metadata; .csv the columns path, 0, 1, ... D - 1, and no notes.
        vectors: n of them, float32 [D].
        notes: what the vectors are, such as the space and the model's fingerprint.
    """
    import numpy as np

    embeddings = np.stack(vectors).astype(np.float32)
    if path.suffix == ".csv":
        # The shortest text that reads back as the same float32.
        rows = ([name, *map(str, vector)] for name, vector in zip(names, embeddings, strict=True))
        return write_rows(path, ["path", *map(str, range(embeddings.shape[1]))], rows)
    with whole(path) as temporary:
        if path.suffix == ".npz":
            arrays: dict[str, Any] = {name: np.array(note) for name, note in notes.items()}
            np.savez(temporary, paths=np.array(names), embeddings=embeddings, **arrays)
        else:
            import pyarrow
            import pyarrow.parquet

            columns = {
                "path": list(names),
                "embedding": pyarrow.array(list(embeddings), pyarrow.list_(pyarrow.float32())),
            }
            pyarrow.parquet.write_table(pyarrow.table(columns, metadata=dict(notes)), temporary)


def write_rows(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a .csv."""
    with whole(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A temporary name for a file, which gets its own name once it is written."""
    temporary = path.with_name(f".{path.name}.tmp{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
