"""Ranges of a file, and bytes of one's own between them, read as one file without a copy."""

from __future__ import annotations

import bisect
import io
import itertools
from collections.abc import Sequence
from typing import IO, Any

BUFFER = 2**16  # bytes: mpg123 asks for four at a time
Range = tuple[int, int]  # the first byte, and the first after the last
Part = bytes | Range


def splice(file: IO[bytes], parts: Sequence[Part]) -> IO[bytes]:
    """The parts one after the other, as a binary file that can be read and sought, before its beginning too (as libsndfile does)."""
    return io.BufferedReader(_Splice(file, parts), BUFFER)


class _Splice(io.RawIOBase):
    def __init__(self, file: IO[bytes], parts: Sequence[Part]) -> None:
        self._file, self._parts = file, parts
        lengths = [len(part) if isinstance(part, bytes) else part[1] - part[0] for part in parts]
        self._ends = list(itertools.accumulate(lengths))
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._ends[-1]}[whence]
        self._at = max(0, origin + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        view, n = memoryview(buffer).cast("B"), 0
        while n < len(view) and self._at < self._ends[-1]:
            i = bisect.bisect_right(self._ends, self._at)
            part, left = self._parts[i], min(self._ends[i] - self._at, len(view) - n)
            if isinstance(part, bytes):
                data = part[len(part) - (self._ends[i] - self._at) :][:left]
            else:
                self._file.seek(part[1] - (self._ends[i] - self._at))
                data = self._file.read(left)
            if not data:
                break
            view[n : n + len(data)] = data
            n, self._at = n + len(data), self._at + len(data)
        return n
