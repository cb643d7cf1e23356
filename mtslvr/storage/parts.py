"""Embeddings on their way into a table, kept in parts beside it, so that a run that was killed goes on where it was.

    <table>.parts/part-<number>-<random>.npz     paths [n], stamps int64 [n, 2], embeddings float32 [n, D], and the notes

A part is there whole or not at all. A kill costs what has been computed since the last one, and no other part is made again.
"""

from __future__ import annotations

import functools
import os
import secrets
import shutil
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mtslvr.sound.files import text_of
from mtslvr.storage.tables import whole

PART_SECONDS = 10.0  # of work in a part, about
PART_FILES = 1024  # in a part, at most

Stamp = tuple[int, int]  # size in bytes, and time of change in nanoseconds


class Parts:
    """The parts of one table.

    Args:
        table: where the table itself will be.
        notes: what the vectors are, such as the space and the model's fingerprint.

    Raises:
        ValueError: the parts that are there have other notes.
        OSError: the folder cannot be read or written.
    """

    def __init__(self, table: Path, notes: Mapping[str, str]) -> None:
        self.folder = table.with_name(f"{table.name}.parts")
        self._notes = dict(notes)
        self._places: dict[str, tuple[Path, int]] = {}  # part and row of each file
        self._stamps: dict[str, Stamp] = {}
        self._held: list[tuple[str, np.ndarray]] = []
        self._since = time.monotonic()
        self._number = 0
        for part in sorted(self.folder.glob("part-*-*.npz")):
            self._number = int(part.stem.split("-")[1]) + 1
            self._open(part)

    def missing(self, paths: Sequence[Path]) -> list[Path]:
        """The files, each once, that are in no part, or have changed since they were put there."""
        found = []
        for path in dict.fromkeys(paths):
            name, stamp = text_of(path), _stamp(path)
            if name not in self._places or self._stamps[name] != stamp:
                self._places.pop(name, None)
                self._stamps[name] = stamp  # from before it is read: a change that comes later shows next time
                found.append(path)
        return found

    def add(self, path: Path, vector: np.ndarray) -> None:
        """Keep the vector, float32 [D], of a file that was missing."""
        self._held.append((text_of(path), vector))
        if len(self._held) == PART_FILES or time.monotonic() - self._since > PART_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what is still held into a part; to be called when the work ends, however it ends."""
        self._since = time.monotonic()
        if not self._held:
            return
        self.folder.mkdir(exist_ok=True)
        # The number says which is newer; the rest keeps apart two runs at the same time.
        part = self.folder / f"part-{self._number:06d}-{secrets.token_hex(4)}.npz"
        names, vectors = zip(*self._held, strict=True)
        stamps = np.array([self._stamps[name] for name in names], np.int64)
        arrays: dict[str, Any] = {name: np.array(note) for name, note in self._notes.items()}
        arrays |= {"paths": np.array(names), "stamps": stamps, "embeddings": np.stack(vectors)}
        with whole(part) as temporary:
            np.savez(temporary, **arrays)
        for row, name in enumerate(names):
            self._places[name] = part, row
        self._number += 1
        self._held = []

    def vectors(self, paths: Sequence[Path]) -> Iterator[np.ndarray]:
        """The vectors of files that are in the parts, float32 [D] each, in this order; a few parts are held at a time."""
        embeddings = functools.lru_cache(4)(lambda part: _read(part)["embeddings"])
        for path in paths:
            part, row = self._places[text_of(path)]
            yield embeddings(part)[row]

    def remove(self) -> None:
        """Delete the parts: the table is written."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _open(self, part: Path) -> None:
        try:
            content = _read(part)
            notes = {name: str(content[name]) for name in self._notes}
            names, stamps = content["paths"].tolist(), content["stamps"].tolist()
        except (zipfile.BadZipFile, ValueError, KeyError, EOFError):
            return part.unlink()  # damaged by a disk or a power cut: its files are embedded again
        if notes != self._notes:
            there, here = (", ".join(f"{name} {note}" for name, note in d.items()) for d in (notes, self._notes))
            raise ValueError(
                f"{self.folder} holds an unfinished table of {there}, and this one is of {here}. Finish that one, "
                "delete the folder, or give this one another name"
            )
        for row, (name, stamp) in enumerate(zip(names, stamps, strict=True)):
            self._places[name], self._stamps[name] = (part, row), tuple(stamp)


def _stamp(path: Path) -> Stamp:
    try:
        status = os.stat(path)
    except OSError:
        return 0, 0  # reading it will say what is wrong
    return status.st_size, status.st_mtime_ns


def _read(part: Path) -> dict[str, np.ndarray]:
    """All that is in a part, whose checksums are compared."""
    with np.load(part) as content:
        return dict(content)
