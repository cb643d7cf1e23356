"""Raw blocks checked and mixed to mono: what cannot be sound is refused, what may not be is warned of."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from mtslvr.sound.clips import is_rate
from mtslvr.sound.decode import Block

MIN_RATE, MAX_RATE = 1_000, 1_000_000  # Hz: beyond these a rate is a mistake, such as 44.1 for 44,100
INTEGER_LIKE = 64  # times full scale: floats beyond this were integers once
ABSURD = 2.0**31  # times full scale: beyond the largest integer sample there is


def checked_rate(rate: Any, name: str) -> float:
    if not is_rate(rate):
        raise TypeError(f"{name}: a rate of type {type(rate).__name__}; expected a number of Hz, such as 44_100")
    if not MIN_RATE <= rate <= MAX_RATE:
        raise ValueError(f"{name}: a rate of {rate} Hz; expected {MIN_RATE:,} to {MAX_RATE:,}, such as 44_100")
    return float(rate)


def to_mono(raw: Iterable[Block], name: str) -> Iterator[tuple[np.ndarray, float]]:
    """Check every block and take the mean of its channels; judge silence and scale once all of them have been seen."""
    n, peak, mono_peak = 0, 0.0, 0.0
    for block, given_rate in raw:
        rate = checked_rate(given_rate, name)
        if not block.size:
            continue
        block_peak = float(np.abs(block).max())  # NaN if there is one
        if not block_peak < ABSURD:
            raise ValueError(_bad_samples(block, n, rate, name))
        mono = np.ascontiguousarray(block).mean(axis=1)  # one memory layout, so one order of summation
        n, peak = n + len(mono), max(peak, block_peak)
        mono_peak = max(mono_peak, float(np.abs(mono).max()))
        yield mono, rate
    if n == 0:
        raise ValueError(f"{name} is empty: it has no samples")
    if mono_peak == 0:
        warnings.warn(f"{name} is silence: every sample is 0 (in mono)", UserWarning, stacklevel=4)
    if peak > INTEGER_LIKE:
        message = f"{name}: floats of up to {peak:g}, where full scale is 1. Divide 16-bit samples by 32768"
        warnings.warn(message, UserWarning, stacklevel=4)


def _bad_samples(block: np.ndarray, n_before: int, rate: float, name: str) -> str:
    bad = ~(np.abs(block) < ABSURD)
    frame, channel = np.argwhere(bad)[0]
    at = n_before + int(frame)
    return (
        f"{name} has samples that are NaN, infinite or absurdly large: {bad.sum():,} within {len(block):,} frames, the "
        f"first of them {block[frame, channel]:g} at sample {at:,} ({at / rate:.3f} s). Find why or cut them out"
    )
