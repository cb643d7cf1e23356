"""Where a recording holds the sounds that a few-shot classifier knows.

Short windows slide over the recording. Each is classified, each step from one window's start to the next's takes the
mean of the windows that cover it, and steps of one label become events. All are generators: memory does not grow with
the length of the recording.
"""

from __future__ import annotations

import itertools
import math
import numbers
import os
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from mtslvr.fewshot import FewShotClassifier
from mtslvr.sound import stream
from mtslvr.sound.stream import SAMPLE_RATE
from mtslvr.storage import atomic, tables

SUFFIXES = (".csv", ".txt")
INSTANT = 1e-6  # seconds: times that differ by less are one
Probabilities = tuple[
    float, float, np.ndarray
]  # from, to (seconds), and float64 [n_classes]; all 0 for none of the classes


@dataclass(frozen=True)
class Event:
    """A sound in a recording: start and end in seconds; its label, as the classifier got it; the label's mean probability."""

    start: float
    end: float
    label: Any
    confidence: float


def detect(
    recording: Any,
    classifier: FewShotClassifier,
    *,
    window: float = 1.0,
    hop: float = 0.25,
    threshold: float = 0.5,
    reject: str | float | None = None,
    background: Any = None,
    min_duration: float = 0.5,
    sample_rate: float | None = None,
    batch_size: int = 16,
) -> list[Event]:
    """Find events in a recording of any length. Digital silence is never one.

    Args:
        recording: one clip, see `MTSLVR.embed`.
        classifier: fitted; its `embedder()` embeds the windows.
        window: seconds that are classified at a time, at most 5; about as long as the events, or shorter.
        hop: seconds from the start of a window to that of the next, at most `window`: how finely events are timed. Time is
            spent in proportion to 1 / hop.
        threshold: the least probability, mean of the windows around, of what is an event; 0 to 1.
        reject: windows more novel than this are none of the classes: a number, or "auto", which is strict on windows; see
            `FewShotClassifier.predict`.
        background: a label, or a list of labels, that make no events: of examples of what else the recording holds.
        min_duration: seconds; shorter gaps within an event are bridged, and then shorter events are dropped.
        sample_rate: Hz, of a recording that is an array without a rate.
        batch_size: windows computed at a time; more need more memory.

    Returns:
        Events, by their start. Events of different labels may overlap where the labels alternate quickly.

    Raises:
        TypeError, ValueError: the recording is not one usable clip; a parameter is not in its range; `background` is no label
            of the classifier, or all of them; the classifier was fitted with another model.
        sklearn.exceptions.NotFittedError: it was not fitted.

    Examples:
        >>> examples = ["dog1.wav", "dog2.wav", "noise1.wav", "noise2.wav"]
        >>> classifier = fit_fewshot(examples, ["dog", "dog", "noise", "noise"])
        >>> for event in detect("an_hour.wav", classifier, background="noise"):
        ...     line = f"{event.start:.2f} {event.end:.2f} {event.label} {event.confidence:.2f}"
    """
    if not hasattr(classifier, "embedder"):
        raise TypeError(
            f"classifier is of type {type(classifier).__name__}; expected a FewShotClassifier, such as fit_fewshot(...), or "
            'FewShotClassifier.from_pretrained("folder")'
        )
    encoder = classifier.embedder()
    labels = classifier.classes_.tolist()
    is_event = _wanted(labels, background)
    _check_number("threshold", threshold, 0, 1)
    _check_number("min_duration", min_duration, 0, math.inf)
    _check_number("batch_size", batch_size, 1, math.inf)
    n_window = stream.n_samples(window, "window", stream.WINDOW / SAMPLE_RATE)
    n_hop = stream.n_samples(hop, "hop", most=window)
    one, clips = stream.clips(recording, sample_rate)
    if not one:
        raise TypeError(
            f"detect takes one recording, and got a {type(recording).__name__} of several: call it for each"
        )
    name, clip = next(clips)

    def classified() -> Iterator[Probabilities]:
        windows = stream.windows(clip, hop=hop, window=window, name=name)
        bar = iter(tqdm(windows, "listening", unit="window", delay=2, disable=None))
        while batch := list(itertools.islice(bar, batch_size)):
            probabilities = np.zeros((len(batch), len(labels)))
            if sounding := [i for i, (wave, _, _) in enumerate(batch) if wave.any()]:
                waves = [(batch[i][0], SAMPLE_RATE) for i in sounding]
                vectors = encoder.embed(waves, batch_size=batch_size, progress=False)
                probabilities[sounding] = classifier.predict_proba(vectors)
                if reject is not None:
                    named = classifier.predict(vectors, reject=reject, unknown_label=None)
                    probabilities[sounding] *= np.array([[label is not None] for label in named])
            yield from ((start, end, row) for (_, start, end), row in zip(batch, probabilities, strict=True))

    steps = averaged(classified(), n_hop / SAMPLE_RATE, n_covering=-(-n_window // n_hop))
    found = merged(steps, is_event, threshold, min_duration)
    return sorted((Event(start, end, labels[i], p) for start, end, i, p in found), key=lambda event: event.start)


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
    steps: Iterable[Probabilities], is_event: np.ndarray, threshold: float, min_duration: float
) -> Iterator[tuple[float, float, int, float]]:
    """Start, end, class and mean probability of each run of steps of one class, as soon as it is over.

    Args:
        is_event: which classes count, bool [n_classes].
        threshold, min_duration: see `detect`.
    """
    runs: dict[int, _Run] = {}

    def over(before: float) -> Iterator[tuple[float, float, int, float]]:
        for i in [i for i, run in runs.items() if run.end <= before]:
            run = runs.pop(i)
            if run.end - run.start > min_duration - INSTANT:
                yield run.start, run.end, i, run.mass / run.heard

    for start, end, probabilities in steps:
        i = int(probabilities.argmax())
        if is_event[i] and probabilities[i] >= max(threshold, INSTANT):
            run = runs.setdefault(i, _Run(start, end))
            run.end = end
            run.heard += end - start
            run.mass += float(probabilities[i]) * (end - start)
        yield from over(end - max(min_duration, INSTANT))
    yield from over(math.inf)


def write_events(path: str | os.PathLike[str], events: Iterable[Event]) -> None:
    """Write events, whole or not at all: .csv (start, end, label, confidence), or .txt, a label track for Audacity.

    Raises:
        ValueError: another suffix, or no such folder.
    """
    path = Path(path)
    tables.check_table(path, SUFFIXES)
    if path.suffix == ".csv":
        rows = ((f"{e.start:.3f}", f"{e.end:.3f}", str(e.label), f"{e.confidence:.3f}") for e in events)
        return tables.write_rows(path, ("start", "end", "label", "confidence"), rows)
    with atomic.whole(path) as temporary, open(temporary, "w", newline="\n", encoding="utf-8") as file:
        for event in events:
            label = " ".join(str(event.label).split())  # a tab or a line end would end it
            file.write(f"{event.start:.6f}\t{event.end:.6f}\t{label}\n")


def _wanted(labels: list[Any], background: Any) -> np.ndarray:
    """Which labels make events: bool [n_classes]."""
    silent = (
        [] if background is None else background if isinstance(background, (list, set, frozenset)) else [background]
    )
    if strangers := [label for label in silent if label not in labels]:
        raise ValueError(f"background={strangers[0]!r} is not a label of the classifier, which has {labels}")
    is_event = np.array([label not in silent for label in labels])
    if not is_event.any():
        raise ValueError("background holds all of the classifier's labels: leave out the ones to look for")
    return is_event


def _check_number(name: str, value: Any, least: float, most: float) -> None:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} is of type {type(value).__name__}; expected a number")
    if not least <= float(value) <= most or value == math.inf:
        limits = f"{least:g} or more" if math.isinf(most) else f"{least:g} to {most:g}"
        raise ValueError(f"{name} is {value}; expected {limits}")
