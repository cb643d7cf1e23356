"""From the probabilities of overlapping windows to events. All are generators: memory does not grow with the recording."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

INSTANT = 1e-6  # seconds: times that differ by less are one
Probabilities = tuple[float, float, np.ndarray]  # from, to (seconds), and float64 [n_classes]; all 0 for none of them


def averaged(windows: Iterable[Probabilities], step: float, n_covering: int) -> Iterator[Probabilities]:
    """Steps, from one window's start to the next's, each with the mean of the windows that cover it.

    Args:
        windows: in order, one starting every `step` seconds, the last one reaching the end.
        n_covering: windows that cover a step, itself included, where enough have come before.
    """
    held: deque[np.ndarray | None] = deque(maxlen=n_covering)

    def mean() -> np.ndarray:
        return np.mean([probabilities for probabilities in held if probabilities is not None], axis=0)

    start = end = 0.0
    for next_start, end, probabilities in windows:  # noqa: B007 (the last end is used)
        if held:
            yield start, next_start, mean()
        held.append(probabilities)
        start = next_start
    while start < end - INSTANT:
        yield start, min(start + step, end), mean()
        start += step
        held.append(None)  # no window starts here any more


@dataclass
class _Run:
    """Steps of one class."""

    start: float
    end: float
    heard: float = 0.0  # seconds, without the gaps
    mass: float = 0.0  # probability times seconds


def merged(
    steps: Iterable[Probabilities],
    is_event: np.ndarray,
    threshold: float,
    min_duration: float,
    *,
    exclusive: bool = True,
) -> Iterator[tuple[float, float, int, float]]:
    """Start, end, class and mean probability of each run of steps of one class, as soon as it is over.

    Args:
        is_event: which classes count, bool [n_classes].
        threshold, min_duration, exclusive: see `mtslvr.detect`.
    """
    runs: dict[int, _Run] = {}

    def over(before: float) -> Iterator[tuple[float, float, int, float]]:
        for i in [i for i, run in runs.items() if run.end <= before]:
            run = runs.pop(i)
            if run.end - run.start > min_duration - INSTANT:
                yield run.start, run.end, i, run.mass / run.heard

    for start, end, probabilities in steps:
        likely = (int(probabilities.argmax()),) if exclusive else range(len(probabilities))
        for i in (i for i in likely if is_event[i] and probabilities[i] >= max(threshold, INSTANT)):
            run = runs.setdefault(i, _Run(start, end))
            run.end = end
            run.heard += end - start
            run.mass += float(probabilities[i]) * (end - start)
        yield from over(end - max(min_duration, INSTANT))
    yield from over(math.inf)
