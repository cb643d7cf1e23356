"""Sound: from whatever a user hands over to float32 mono windows of 5 s at 16 kHz.

Three steps, each a generator, so that memory does not grow with the length of a recording: `clips` tells one clip
from several, `blocks` decodes, checks, mixes and resamples one, `windows` cuts it to length.
Window and sample rate are those of MT-SLVR (arXiv 2305.17191).
"""

from __future__ import annotations

import itertools
import math
import numbers
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import soxr

from mtslvr.sound.clips import CLIP_KINDS, clip_of, column, is_clip, path_of
from mtslvr.sound.kinds import MAX_CHANNELS, Clip, Samples, is_array
from mtslvr.sound.mono import checked_rate, to_mono

SAMPLE_RATE = 16_000  # Hz
WINDOW = 80_000  # samples: 5 s


def clips(audio: Any, sample_rate: float | None = None) -> tuple[bool, Iterator[tuple[str, Clip]]]:
    """Tell one clip from several, and go through them lazily.

    Args:
        audio: a clip (see `blocks`); or a list, tuple, generator or other iterable of clips, a column of paths (NumPy, pandas,
            polars, pyarrow), or a 2-d array or tensor [clips, samples]. `(array, rate)`, a pair whose second item is a number, is one clip.
        sample_rate: Hz, of the arrays without a rate; files, pairs and dictionaries know and keep their own.

    Returns:
        Whether `audio` is one clip, and an iterator of (name, clip): a name for messages, such as "clip 3 (b.wav)",
        counted from 0, and a clip for `blocks`.

    Raises:
        TypeError: `audio` is of no accepted kind, or a list of numbers.
        ValueError: it is empty, an array without a rate is not 1-d, or [samples, channels] came for [clips, samples].

    Warns:
        UserWarning: once, if there is an array without a rate, and no `sample_rate`: 16 kHz is taken.
    """
    if sample_rate is not None:
        sample_rate = checked_rate(sample_rate, "sample_rate")
    kind = type(audio).__name__
    if (items := column(audio)) is not None:
        audio = items
    if is_array(audio) and audio.ndim == 2:
        _check_clips_first(audio.shape)
    elif is_clip(audio):
        return True, _named([audio], sample_rate, one=True)
    elif not isinstance(audio, Iterable):
        raise TypeError(f"audio is of type {kind}; expected {CLIP_KINDS}; or a list of these")
    several = iter(audio)
    first = list(itertools.islice(several, 1))
    if not first:
        raise ValueError(f"audio is an empty {kind}; expected at least one clip")
    if isinstance(first[0], numbers.Number):
        raise TypeError(
            f"audio is a {kind} that begins with a number, but expected clips in it. Give the samples of a clip as "
            "np.asarray(samples, dtype=np.float32), and with its rate as (array, rate), in this order"
        )
    return False, _named(itertools.chain(first, several), sample_rate, one=False)


def blocks(clip: Any, sample_rate: float | None = None, *, name: str | None = None) -> Iterator[np.ndarray]:
    """One clip as a stream: decoded, checked, mixed to mono, resampled.

    Its samples depend neither on where the blocks end nor on whether the sound came as a file or as an array.

    Args:
        clip: a Clip; or a path ("~" is the home folder); the bytes of a sound file; a binary file (from its beginning if it
            can seek); an array or tensor [samples]; `(array, rate)`; a dictionary with "array" (or "raw") and
            "sampling_rate" (or "sample_rate"), or with "bytes" or "path", or that holds one of these as "audio", "wav",
            "flac", ...; an object whose get_all_samples() has `data` and `sample_rate`. Samples are float16/32/64 in
            [-1, 1], int16 or int32 (divided by 2**15, 2**31), none of them masked. Where a rate comes with it an array
            may be [channels, samples] or [samples, channels]: the shorter axis is the channels, at most 32.
        sample_rate: Hz, of an array without a rate; if not given 16 kHz is taken, with a warning.
        name: what the messages call the clip; its path if it has one.

    Yields:
        float32 [n], mono, 16 kHz, n > 0; together round(samples * 16000 / rate) samples (of each
        stretch, where the rate of a file changes).

    Raises:
        TypeError: no accepted kind of clip, dtype or rate.
        ValueError: no samples; NaN or infinite ones; a rate outside 1 kHz to 1 MHz; a wrong shape; a file that is
            missing, empty, damaged, cut short, no sound, or not decodable without the extra `m4a`.

    Warns:
        UserWarning: all of it is silence; its floats look like integers; an array came without a rate; less than half
            a second of an MP3 is damaged, and was left out.
    """
    name = name or path_of(clip) or "the clip"
    if is_array(clip):
        clip = _with_rate(clip, sample_rate, name)
    n_out = 0
    for out in _resampled(to_mono(clip_of(clip, name).blocks(name), name)):
        if len(out):
            n_out += len(out)
            yield out
    if not n_out:
        raise ValueError(f"{name} is too short: less than one sample at {SAMPLE_RATE:,} Hz")


def _resampled(mono: Iterable[tuple[np.ndarray, float]]) -> Iterator[np.ndarray]:
    """Blocks at 16 kHz, some of them empty; each stretch of one rate is resampled by itself."""
    for rate, stretch in itertools.groupby(mono, lambda item: item[1]):
        if rate == SAMPLE_RATE:
            yield from (block for block, _ in stretch)
            continue
        resampler = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")
        for block, _ in stretch:
            yield resampler.resample_chunk(block)
        yield resampler.resample_chunk(np.empty(0, np.float32), last=True)


def windows(
    clip: Any,
    *,
    hop: float = 5.0,
    window: float = 5.0,
    sample_rate: float | None = None,
    name: str | None = None,
) -> Iterator[tuple[np.ndarray, float, float]]:
    """One clip as windows, starting at 0, hop, 2 hop, ... until one of them reaches its end.

    Args:
        clip, sample_rate, name: see `blocks`, also for what is raised and warned of.
        hop: seconds from one start to the next, rounded to samples, at least one; more than `window` leaves sound out.
        window: seconds of sound in each, at most 5, rounded as hop.

    Yields:
        float32 [80000], and the start and end, in seconds, of the sound in it. Less than 5 s of sound, because `window`
        is shorter or the clip ends, is repeated to fill 5 s, as a short clip is: a window is what a cut from its start
        to its end would be.

    Raises:
        TypeError, ValueError: hop or window is not a positive number; window is more than 5.
    """
    n_hop, n_window = n_samples(hop, "hop"), n_samples(window, "window", WINDOW / SAMPLE_RATE)
    held, n_dropped = np.empty(0, np.float32), 0  # the samples that are still needed, and how many came before them
    start = end = n_total = 0
    for block in blocks(clip, sample_rate, name=name):
        held = np.concatenate([held, block])
        n_total += len(block)
        while start + n_window <= n_total:
            end = start + n_window
            yield np.resize(held[start - n_dropped : end - n_dropped], WINDOW), start / SAMPLE_RATE, end / SAMPLE_RATE
            start += n_hop
        held = held[max(0, start - n_dropped) :]
        n_dropped = n_total - len(held)
    if start < n_total and end < n_total:
        yield np.resize(held, WINDOW), start / SAMPLE_RATE, n_total / SAMPLE_RATE


def read(clip: Any, sample_rate: float | None = None, *, name: str | None = None) -> np.ndarray:
    """The whole of one clip: float32 [samples], mono, 16 kHz. See `blocks` for its arguments and errors."""
    return np.concatenate(list(blocks(clip, sample_rate, name=name)))


def n_samples(seconds: float, name: str, most: float = math.inf) -> int:
    """Seconds in samples, at least one.

    Raises:
        TypeError, ValueError: `seconds`, which the message calls `name`, is not a number above 0, finite and up to `most`.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, numbers.Real):
        raise TypeError(f"{name} is of type {type(seconds).__name__}; expected seconds, such as 2.5")
    if not 0 < seconds <= most or seconds == math.inf:
        limit = f", at most {most:g}" if most < math.inf else ""
        raise ValueError(f"{name} is {seconds}; expected seconds, more than 0{limit}")
    return max(1, round(seconds * SAMPLE_RATE))


def _named(items: Iterable[Any], sample_rate: float | None, one: bool) -> Iterator[tuple[str, Clip]]:
    for i, clip in enumerate(items):
        path = path_of(clip)
        name = (path or "the clip") if one else f"clip {i} ({path})" if path else f"clip {i}"
        if is_array(clip):
            clip = _with_rate(clip, sample_rate, name)
            sample_rate = clip.rate  # so that only the first one warns
        yield name, clip_of(clip, name)


def _with_rate(array: Any, sample_rate: float | None, name: str) -> Samples:
    if array.ndim != 1:
        raise ValueError(
            f"{name} is an array of shape {list(array.shape)} without a rate; expected [samples]. "
            "Give one clip of several channels as (array, rate), several clips as a list or as [clips, samples]"
        )
    if sample_rate is None:
        message = f"{name} is an array without a sample rate: {SAMPLE_RATE:,} Hz is assumed. Give sample_rate="
        warnings.warn(message, UserWarning, stacklevel=3)
    return Samples(array, sample_rate or SAMPLE_RATE)


def _check_clips_first(shape: tuple[int, int]) -> None:
    if 0 < shape[1] < shape[0] and shape[1] <= MAX_CHANNELS:
        raise ValueError(
            f"audio is an array of shape {list(shape)}, which looks like [samples, channels], not [clips, "
            "samples]. Give one clip of several channels as (array, rate), and clips of one channel as array.T"
        )
