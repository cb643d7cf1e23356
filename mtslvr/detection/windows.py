"""A recording as windows and their vectors, each made once, in memory that does not grow with the recording."""

from __future__ import annotations

import tempfile
import weakref
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from mtslvr.encoder import batching
from mtslvr.sound import stream

Heard = tuple[
    float, float, NDArray[np.float32] | None
]  # from, to (seconds), and the vector [D]; None of digital silence


def heard(
    model: Any, clip: Any, space: str, *, name: str, window: float, hop: float, batch_size: int
) -> Iterator[Heard]:
    """The windows of a recording, in order, with the vector of each in a space of the model.

    Args:
        clip, name, window, hop: see `stream.windows`.
        model, batch_size: see `batching.vectors`, also for what is raised.
    """
    waiting: deque[tuple[float, float, bool]] = deque()  # windows decoded, whose vectors are not there yet

    def sounding() -> Iterator[tuple[None, np.ndarray]]:
        windows = stream.windows(clip, hop=hop, window=window, name=name)
        for wave, start, end in tqdm(windows, "listening", unit="window", delay=2, disable=None):
            waiting.append((start, end, bool(wave.any())))
            if waiting[-1][2]:
                yield None, wave

    for _, vector in batching.vectors(model, sounding(), space, batch_size):
        while not waiting[0][2]:
            yield *waiting.popleft()[:2], None
        yield *waiting.popleft()[:2], vector
    yield from ((start, end, None) for start, end, _ in waiting)


class Spool:
    """The windows of a recording on disk, to be gone through several times. An hour in steps of 0.25 s takes 60 MB.

    Args:
        windows: one after the other; taken at once.
    """

    def __init__(self, windows: Iterable[Heard]) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (closed, and so deleted, with this object)
        weakref.finalize(self, self._file.close)
        self._width = 0
        times = []
        for start, end, vector in windows:
            times.append((start, end, vector is not None))
            if vector is not None:
                self._width = len(vector)
                self._file.write(np.asarray(vector, np.float32).tobytes())
        self.times = np.array([time[:2] for time in times], np.float64).reshape(-1, 2)  # seconds [n, 2], of all windows
        self.sounding = np.array([time[2] for time in times], bool)  # which of them have a vector

    def __iter__(self) -> Iterator[Heard]:
        row = 0
        for (start, end), sounding in zip(self.times.tolist(), self.sounding, strict=True):
            yield start, end, self[[row]][0] if sounding else None
            row += bool(sounding)

    def __getitem__(self, rows: Iterable[int]) -> NDArray[np.float32]:
        """Vectors by their number among those of windows that are not silent: [n, D]."""
        size = 4 * self._width
        found = []
        for row in rows:
            self._file.seek(row * size)
            found.append(np.frombuffer(self._file.read(size), np.float32))
        return np.stack(found)
