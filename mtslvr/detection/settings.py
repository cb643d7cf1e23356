"""What `mtslvr.detect` is asked for, checked before any work, and what it takes where nothing is said."""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtslvr.sound import stream
from mtslvr.sound.stream import SAMPLE_RATE

AUTO = "auto"
SHORTEST, USUAL, LONGEST = 0.5, 1.0, stream.WINDOW / SAMPLE_RATE  # seconds of a window that nobody has set
MAX_HOP = 0.5  # seconds, of a hop that nobody has set


@dataclass(frozen=True)
class Grid:
    """Window, hop and shortest event in seconds, all in their range."""

    window: float
    hop: float
    min_duration: float
    batch_size: int

    @classmethod
    def of(
        cls, window: Any, hop: Any, min_duration: Any, threshold: Any, batch_size: Any, typical: float | None
    ) -> Grid:
        """What was given, checked, and else what follows from the typical length of an example, in seconds."""
        check_number("threshold", threshold, 0, 1)
        if isinstance(batch_size, bool) or not isinstance(batch_size, numbers.Integral) or batch_size < 1:
            raise ValueError(f"batch_size is {batch_size!r}; expected a whole number above 0")
        if window is None:
            window = min(max(typical or USUAL, SHORTEST), LONGEST)
        stream.n_samples(window, "window", LONGEST)
        if hop is None:
            hop = min(window / 4, MAX_HOP)
        stream.n_samples(hop, "hop", most=window)
        check_number("min_duration", min_duration, 0, math.inf)
        return cls(float(window), float(hop), float(min_duration), int(batch_size))

    @property
    def of_windows(self) -> dict[str, Any]:
        return {"window": self.window, "hop": self.hop, "batch_size": self.batch_size}


def background_of(labels: list[Any], background: Any) -> tuple[bool, NDArray[np.bool_]]:
    """Whether the background is learned from the recording, and which labels make events: bool [n_classes]."""
    asked = [] if background is None else background if isinstance(background, (list, set, frozenset)) else [background]
    learns = AUTO in asked and AUTO not in labels
    silent = [label for label in asked if not (learns and label == AUTO)]
    if strangers := [label for label in silent if label not in labels]:
        raise ValueError(f"background={strangers[0]!r} is not a label of the classifier, which has {labels}")
    is_event = np.array([label not in silent for label in labels])
    if not is_event.any():
        raise ValueError("background holds all of the classifier's labels: leave out the ones to look for")
    return learns, is_event


def one_recording(recording: Any, sample_rate: float | None, caller: str) -> tuple[str, Any]:
    one, clips = stream.clips(recording, sample_rate)
    if not one:
        raise TypeError(
            f"{caller} takes one recording, and got a {type(recording).__name__} of several: call it for each"
        )
    return next(clips)


def check_number(name: str, value: Any, least: float, most: float) -> None:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} is of type {type(value).__name__}; expected a number")
    if not least <= float(value) <= most or value == math.inf:
        limits = f"{least:g} or more" if math.isinf(most) else f"{least:g} to {most:g}"
        raise ValueError(f"{name} is {value}; expected {limits}")
