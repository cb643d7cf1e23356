"""A lesson: the sounds that one visitor gave, the classifier learned from them, and what it says of others."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mtslvr.encoder.model import MTSLVR
from mtslvr.fewshot import FewShotClassifier, fit_fewshot
from mtslvr.fewshot.report import Report
from mtslvr.sound import stream

MIN_SECONDS = 0.05  # of a sound: less is a slip of the finger
MAX_SECONDS = 600.0  # a small file may hold hours, and the memory of the server is for all
FOLDER = "my-sounds"  # in the zip


@dataclass
class Lesson:
    """What one visitor taught.

    Args:
        heard: by path, the embedding of each file, float32 [D], or what is wrong with it: no file is embedded twice.
        classifier: learned from the sounds; None as long as there are no two classes.
    """

    heard: dict[str, NDArray[np.float32] | str] = field(default_factory=dict)
    classifier: FewShotClassifier | None = None

    def hear(self, model: MTSLVR, paths: Iterable[str]) -> list[str]:
        """Embed the files that are new; returns what is wrong with those, old or new, that are no usable sound."""
        paths = list(paths)
        for path in paths:
            if path not in self.heard:
                try:
                    self.heard[path] = model.embed((_usable(path), stream.SAMPLE_RATE))
                except (ValueError, OSError) as error:
                    self.heard[path] = str(error)
        return [found for path in paths if isinstance(found := self.heard[path], str)]

    def learn(self, model: MTSLVR, sounds: Sequence[tuple[str, Sequence[str]]]) -> tuple[FewShotClassifier, Report]:
        """Learn a classifier of the files that can be used, all of which were heard, and report on it.

        Args:
            sounds: label and paths of each class; the same label twice is one class.

        Raises:
            ValueError: there are no two classes with a sound; the message says what is missing.
        """
        self.classifier = None
        vectors, labels, names = [], [], []
        for label, paths in sounds:
            for path in paths:
                if not isinstance(vector := self.heard[path], str):
                    vectors.append(vector)
                    labels.append(label)
                    names.append(Path(path).name)
        if not vectors:
            raise ValueError("Add at least one sound to each of two classes.")
        if len(set(labels)) == 1:
            raise ValueError(f"All its sounds are of the class “{labels[0]}”: add one of a second class.")
        self.classifier = fit_fewshot(np.stack(vectors), labels, model=model)
        return self.classifier, self.classifier.report(names)

    def name(self, model: MTSLVR, path: str) -> dict[str, float]:
        """The probability of each class, for a file.

        Raises:
            ValueError: it is no usable sound; nothing was learned yet.
        """
        if wrong := self.hear(model, [path]):
            raise ValueError(wrong[0])
        if self.classifier is None:
            raise ValueError("It has not learned anything yet: add sounds of two classes.")
        probabilities = self.classifier.predict_proba(np.stack([self.heard[path]]))[0]
        return dict(zip(self.classifier.classes_.tolist(), probabilities.tolist(), strict=True))


def write_zip(classifier: FewShotClassifier, directory: str | os.PathLike[str]) -> Path:
    """Write the classifier's folder, my-sounds/, as a zip into an existing directory; returns its path."""
    place = Path(directory)
    classifier.save_pretrained(place / FOLDER)
    archive = shutil.make_archive(str(place / FOLDER), "zip", place, FOLDER)
    shutil.rmtree(place / FOLDER)
    return Path(archive)


def _usable(path: str) -> NDArray[np.float32]:
    """The wave of a file: float32 [samples], 16 kHz.

    Raises:
        ValueError: it cannot be read, or there is nothing to learn in it.
    """
    name = Path(path).name
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* is silence")  # which is refused here
        blocks: list[NDArray[np.float32]] = []
        seconds = 0.0
        for block in stream.blocks(path, name=name):
            blocks.append(block)
            seconds += len(block) / stream.SAMPLE_RATE
            if seconds > MAX_SECONDS:
                raise ValueError(f"{name} is longer than {MAX_SECONDS / 60:g} minutes: cut out what is to be learned")
    wave = np.concatenate(blocks)
    if seconds < MIN_SECONDS:
        raise ValueError(f"{name} is too short: {1000 * seconds:.0f} ms; expected {1000 * MIN_SECONDS:.0f} ms at least")
    if not wave.any():
        raise ValueError(f"{name} is silence: every sample is 0")
    return wave
