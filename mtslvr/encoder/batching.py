"""Many clips through a model: decoded in threads while it computes, in batches that are filled across clips.

Threads, and not processes: libsndfile, soxr and torch release the interpreter's lock, and waveforms would have to be copied
from one process to another, which for short files takes longer than to decode them.
"""

from __future__ import annotations

import itertools
import numbers
import os
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from tqdm import tqdm

from mtslvr.sound import stream
from mtslvr.sound.clips import clip_of
from mtslvr.sound.files import text_of

THREADS = min(8, os.cpu_count() or 1)  # that decode
AHEAD = 4  # windows (20 s) of a recording that are decoded before they are asked for
SHOWN = 20  # files that could not be embedded, named on the screen

T = TypeVar("T")
Window = tuple[np.ndarray, float, float]  # see stream.windows


class WindowEncoder(Protocol):
    """What is asked of a model here."""

    training: bool

    @property
    def spaces(self) -> Mapping[str, int]: ...

    @property
    def device(self) -> torch.device: ...

    def __call__(self, waves: torch.Tensor, space: str) -> torch.Tensor: ...


def embed(
    model: WindowEncoder,
    clips: Iterable[tuple[str, Any]],
    space: str,
    batch_size: int,
    on_error: Callable[[int, Exception], None] | None = None,
) -> Iterator[tuple[int, np.ndarray]]:
    """The vector of each clip, the mean over its windows weighed by the seconds of sound in them, one after the other.

    Neither the number of clips nor their length costs memory: what is held are a batch, and as many clips that wait for
    the next, each decoded up to its first 20 s.

    Args:
        clips: name and clip, see `stream.clips`.
        space, batch_size: see `MTSLVR.embed`.
        on_error: is told the number of a clip that is no usable sound, and the error; the others go on. None raises it.

    Yields:
        The number of the clip, counted from 0, and float32 [D].

    Raises:
        TypeError, ValueError: see `MTSLVR.embed`.
    """
    failed = set()
    names: dict[int, str] = {}

    def named() -> Iterator[tuple[str, Any]]:
        for i, (name, clip) in enumerate(clips):
            names[i] = name
            yield name, clip

    def windows() -> Iterator[tuple[tuple[int, float], np.ndarray]]:
        for i, decoded in enumerate(_decoded_ahead(named(), batch_size)):
            try:
                for wave, start, end in decoded:
                    yield (i, end - start), wave
            except (ValueError, TypeError, OSError) as error:
                if on_error is None:
                    raise
                failed.add(i)
                on_error(i, error)

    for i, parts in itertools.groupby(vectors(model, windows(), space, batch_size), lambda item: item[0][0]):
        total, seconds = np.zeros(model.spaces[space]), 0.0  # float64, so that the order of rounding does not show
        for (_, length), vector in parts:
            total += length * vector
            seconds += length
        name, vector = names.pop(i), (total / seconds).astype(np.float32)
        if i in failed:  # a damaged one may have given some windows before
            continue
        try:
            check_finite(vector, name)
        except ValueError as error:
            if on_error is None:
                raise
            on_error(i, error)
        else:
            yield i, vector


def check_finite(vectors: np.ndarray, name: str) -> None:
    """Refuse a clip's vectors that are no numbers.

    Raises:
        ValueError: naming the clip.
    """
    if not np.isfinite(vectors).all():
        raise ValueError(f"the embedding of {name} holds NaN or infinity: the model's weights are damaged")


def embed_files(
    model: WindowEncoder,
    paths: Sequence[Path],
    space: str,
    keep: Callable[[Path, np.ndarray], None],
    *,
    batch_size: int = 16,
    n_done: int = 0,
) -> dict[Path, str]:
    """Embed files with a progress bar, and tell on stderr what is odd, and at the end which could not be embedded.

    Args:
        keep: is given each file and its vector, float32 [D], in order.
        n_done: files that were done before, for the progress bar.

    Returns:
        What is wrong with each file that could not be.
    """
    errors: dict[Path, str] = {}
    named = ((text_of(path), path) for path in paths)
    found = embed(model, named, space, batch_size, lambda i, error: errors.update({paths[i]: str(error)}))
    bar = tqdm(None, "embedding", n_done + len(paths), unit="file", delay=2, disable=None, initial=n_done)
    with bar, warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always")
        for i, vector in found:
            keep(paths[i], vector)
            bar.update(n_done + i + 1 - bar.n)
            while notes:
                tqdm.write(f"note: {notes.pop(0).message}", file=sys.stderr)
    for error in itertools.islice(errors.values(), SHOWN):
        print(f"skipped: {error}", file=sys.stderr)
    if len(errors) > SHOWN:
        print(f"skipped: {len(errors) - SHOWN} more", file=sys.stderr)
    return errors


def vectors(
    model: WindowEncoder, windows: Iterable[tuple[T, np.ndarray]], space: str, batch_size: int
) -> Iterator[tuple[T, np.ndarray]]:
    """The features, float32 [D], of each window, with whatever came along with it, in order; only a batch is held at a time.

    Raises:
        ValueError: `batch_size` is not a whole number above 0; the model is in training mode.
    """
    if isinstance(batch_size, bool) or not isinstance(batch_size, numbers.Integral) or batch_size < 1:
        raise ValueError(f"batch_size is {batch_size!r}; expected a whole number above 0")
    if model.training:
        raise ValueError(
            "the model is in training mode, where a clip's vector depends on its batch; call model.eval() first"
        )
    windows = iter(windows)
    while batch := list(itertools.islice(windows, batch_size)):
        waves = torch.from_numpy(np.stack([wave for _, wave in batch])).to(model.device)
        with torch.no_grad(), torch.autocast(model.device.type, enabled=False):
            features = model(waves, space).float().cpu().numpy()
        yield from zip((tag for tag, _ in batch), features, strict=True)


def _decoded_ahead(clips: Iterable[tuple[str, Any]], n_ahead: int) -> Iterator[Iterator[Window]]:
    """The windows of each clip, in order; of the next `n_ahead` clips the first ones are being decoded meanwhile.

    Only files on disk and bytes are: another clip may be an array that is filled anew for the next, or a file that comes twice.
    """
    pool = ThreadPoolExecutor(THREADS, "mtslvr-decode")
    waiting: deque[Iterator[Window]] = deque()
    try:
        for name, clip in clips:
            clip = clip_of(clip, name)
            windows = stream.windows(clip, name=name)
            if clip.can_wait:
                waiting.append(_ahead(pool, windows))
                if len(waiting) > n_ahead:
                    yield waiting.popleft()
            else:
                while waiting:
                    yield waiting.popleft()
                yield windows
        while waiting:
            yield waiting.popleft()
    finally:
        pool.shutdown(cancel_futures=True)


def _ahead(pool: Executor, windows: Iterator[Window]) -> Iterator[Window]:
    """The same windows; the first are decoded from now on, the others while those before them are in use."""

    def take() -> list[Window]:
        return list(itertools.islice(windows, AHEAD))

    def use(future: Future[list[Window]]) -> Iterator[Window]:
        while len(taken := future.result()) == AHEAD:
            future = pool.submit(take)
            yield from taken
        yield from taken

    return use(pool.submit(take))
