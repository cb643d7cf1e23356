"""Vectors on disk, for the cache of embeddings (cache.py) and for tables that are not finished.

    <folder>/<2 hex digits>/<62 hex digits>     float32 [D], little-endian, and a SHA-256 of the tag and these bytes

A vector is there whole or not at all, whenever a process is killed. A damaged one, or one with another tag, is not there.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np

from mtslvr.storage import atomic

DIGEST = 32  # bytes
NOTES_FILE = "notes.json"
_ENTRY = re.compile(r"[0-9a-f]{62}|\.mtslvr-[0-9a-f]{16}\.tmp")


class Vectors:
    """Vectors by key, in a folder that is made with the first. Processes may share it.

    A key is 64 hex digits. A tag says what a vector holds for, such as the time when its file was changed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, key: str, tag: bytes = b"") -> np.ndarray | None:
        """float32 [D]; None where there is none, it is damaged, or its tag is another."""
        try:
            data = self._file(key).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        vector, check = data[:-DIGEST], data[-DIGEST:]
        return np.frombuffer(vector, "<f4") if hashlib.sha256(tag + vector).digest() == check else None

    def write(self, key: str, vector: np.ndarray, tag: bytes = b"") -> None:
        """Put a vector there, float32 [D], in place of one that was.

        Raises:
            OSError: the folder cannot be written.
        """
        file, data = self._file(key), vector.astype("<f4").tobytes()
        file.parent.mkdir(parents=True, exist_ok=True)
        atomic.write({file: data + hashlib.sha256(tag + data).digest()}, durable=False)

    def remove(self) -> None:
        """Delete the vectors, and the folder if nothing else is in it."""
        for place in self.folder.glob("[0-9a-f][0-9a-f]"):
            for entry in place.iterdir() if place.is_dir() and not place.is_symlink() else ():
                if _ENTRY.fullmatch(entry.name):
                    entry.unlink()
            with suppress(OSError):  # a file, or a folder that holds something else
                place.rmdir()
        with suppress(OSError):
            self.folder.rmdir()

    def _file(self, key: str) -> Path:
        return self.folder / key[:2] / key[2:]


class Unfinished:
    """Embeddings on their way into a table, kept in `<table>.parts`: a run that was killed goes on where it was.

    Args:
        table: where the table itself will be.
        notes: what the vectors are, such as the space and the model's fingerprint.

    Raises:
        ValueError: another process is at work on this table; what is there has other notes.
        OSError: the folder cannot be read or written.
    """

    def __init__(self, table: Path, notes: Mapping[str, str]) -> None:
        self.folder = table.with_name(f"{table.name}.parts")
        self._vectors = Vectors(self.folder)
        self._notes = json.dumps(dict(notes)).encode()
        self._tags: dict[Path, bytes] = {}
        self._closing = ExitStack()
        self._closing.enter_context(atomic.locked(self.folder, "writing"))
        weakref.finalize(self, self._closing.close)
        notes_file = self.folder / NOTES_FILE
        there = notes_file.read_bytes() if notes_file.exists() else None
        self._noted = there == self._notes
        if there is not None and not self._noted:
            self.close()
            raise ValueError(
                f"{self.folder} holds an unfinished table of {_told(there)}, and this one is of {_told(self._notes)}. "
                "Finish that one, delete the folder, or give this one another name"
            )

    def __enter__(self) -> Unfinished:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let other processes at it."""
        with suppress(OSError):  # it holds something
            self.folder.rmdir()
        self._closing.close()

    def missing(self, paths: Sequence[Path]) -> list[Path]:
        """The files, each once, that were not embedded, or have changed since."""
        files = list(dict.fromkeys(paths))
        self._tags |= {path: _stamp(path) + self._notes for path in files}  # a change that comes later shows next time
        return [path for path in files if self._read(path) is None]

    def add(self, path: Path, vector: np.ndarray) -> None:
        """Keep the vector, float32 [D], of a file that was missing."""
        if not self._noted:
            atomic.write({self.folder / NOTES_FILE: self._notes})
            self._noted = True
        self._vectors.write(_key(path), vector, self._tags[path])

    def vectors(self, paths: Sequence[Path]) -> Iterator[np.ndarray]:
        """The vectors of files that were embedded, float32 [D] each, in this order; one is held at a time.

        Raises:
            OSError: one is gone or damaged.
        """
        for path in paths:
            if (vector := self._read(path)) is None:
                raise OSError(f"{self.folder} was changed meanwhile: run again")
            yield vector

    def remove(self) -> None:
        """Delete what was kept, and nothing else: the table is written."""
        (self.folder / NOTES_FILE).unlink(missing_ok=True)
        self._vectors.remove()

    def _read(self, path: Path) -> np.ndarray | None:
        return self._vectors.read(_key(path), self._tags[path])


def _key(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()


def _stamp(path: Path) -> bytes:
    """Size in bytes, and time of change in nanoseconds."""
    try:
        status = os.stat(path)
    except OSError:
        return b""  # reading it will say what is wrong
    return f"{status.st_size} {status.st_mtime_ns} ".encode()


def _told(notes: bytes) -> str:
    try:
        return ", ".join(f"{name} {note}" for name, note in json.loads(notes).items())
    except (ValueError, AttributeError, RecursionError):
        return "something unknown"
